"""Create objects in S3, Google Cloud Storage or Azure Blob Storage through obstore."""

import io
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consumer.aws.reasons import one_line
from consumer.errors import ConfigurationError, ConsumerError, SinkUnavailable
from consumer.sinks.objects.failures import DEBUG, Failure, failure_of
from consumer.sinks.objects.store import Fill

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

INSTALL = "pip install 'call-request-consumer[objects]'"
CONNECT_TIMEOUT, TIMEOUT = timedelta(seconds=5), timedelta(seconds=60)
# A retry is a due time of the shard, which checks the lease again first.
NO_RETRIES: "RetryConfig" = {"max_retries": 0}
# The object that each start tries to create twice. Many readers ignore names that begin with an underscore.
PROBE = "_call-consumer"
PROBE_TEXT = b"At each start, call-consumer tries to replace this object. If it can, it does not write here.\n"


@contextmanager
def configuring(label: str, hint: str = "") -> Iterator[None]:
    """Translate obstore's errors about a configuration. `label`: the setting and the scheme.

    Raises:
        ConfigurationError: obstore is not installed, or rejects a value.
    """
    try:
        from obstore.exceptions import BaseError
    except ImportError:
        raise ConfigurationError(f"{label} needs obstore: {INSTALL}") from None
    try:
        yield
    except (BaseError, ValueError) as error:
        words = one_line(str(error).partition(DEBUG)[0])
        raise ConfigurationError(f"{label}: {words}{hint}") from None


def client_options(
    endpoint: str | None, headers: Mapping[str, str] | None = None, bundle: bytes | None = None
) -> "ClientConfig":
    """Return the options of obstore's HTTP client. `bundle`: more certificates of CAs, in PEM format."""
    options: ClientConfig = {"connect_timeout": CONNECT_TIMEOUT, "timeout": TIMEOUT}
    if endpoint is not None and endpoint.startswith("http://"):
        options["allow_http"] = True
    if headers:
        options["default_headers"] = dict(headers)
    if bundle is not None:
        options["root_certificate"] = bundle
    return options


@dataclass(frozen=True, slots=True)
class Service:
    """What the store of one service adds to errors.

    `named` is its place in messages: setting, bucket and prefix. `host` is its endpoint there. `advice` maps an error
    code, or method and HTTP status, to what to do about it. `failed` is called with each failure; it returns an error
    that explains it, or None.
    """

    named: str
    host: str
    advice: Mapping[str, str]
    failed: Callable[[Failure], ConsumerError | None] = lambda _: None


class RemoteStore:
    """Objects below one prefix of a bucket or container. One PUT creates an object whole."""

    def __init__(
        self, store: "ObjectStore", service: Service, content_type: str, tags: Mapping[str, str] | None = None
    ) -> None:
        self._store, self._service, self._content_type = store, service, content_type
        self._tags = dict(tags) if tags else None

    def check(self) -> None:
        """Create the probe twice: the second time must fail. Then ask for an object that is not there."""
        with self._calling("PUT", lasting=ConfigurationError):
            self._put(PROBE, PROBE_TEXT)
            replaced = self._put(PROBE, PROBE_TEXT)
        if replaced:
            raise ConfigurationError(
                f"{self._service.named}: this store replaces objects, although the request forbids it: name a store"
                " that supports conditional writes (If-None-Match)"
            )
        with self._calling("HEAD", lasting=ConfigurationError):
            self._is_there(f"{PROBE}-{secrets.token_hex(8)}")

    def create(self, name: str, fill: Fill) -> bool:
        payload = io.BytesIO()
        fill(payload)
        with self._calling("PUT"):
            return self._put(name, payload.getbuffer())

    def exists(self, name: str) -> bool:
        with self._calling("HEAD"):
            return self._is_there(name)

    def names(self) -> Iterator[str]:
        import obstore

        with self._calling("LIST"):
            for found in obstore.list(self._store):
                yield from (each["path"] for each in found)

    def read(self, name: str) -> bytes | None:
        import obstore

        with self._calling("GET"):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def replace(self, name: str, content: bytes) -> None:
        import obstore

        with self._calling("PUT" if content else "DELETE"):
            if content:
                obstore.put(self._store, name, content, mode="overwrite", **self._attributes)
            else:
                obstore.delete(self._store, name)

    @property
    def _attributes(self) -> dict[str, Any]:
        return {"attributes": {"Content-Type": self._content_type}, "tags": self._tags, "use_multipart": False}

    def _put(self, name: str, payload: bytes | memoryview) -> bool:
        """Create an object; return False if it is there already.

        obstore reports S3's 409 like an object that is there. But S3 also sends it while another request for the same
        name is under way, which may still fail. So only a second request tells.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._store, name, payload, mode="create", **self._attributes)
        except AlreadyExistsError as error:
            if self._is_there(name):
                return False
            raise SinkUnavailable(
                f"{self._service.named}: PUT: {failure_of(error).words}: another request for this object is under way"
            ) from None
        return True

    def _is_there(self, name: str) -> bool:
        import obstore

        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _calling(self, method: str, lasting: type[ConsumerError] = SinkUnavailable) -> Iterator[None]:
        """Translate every error of a call. `lasting`: the class of errors that a later call will meet too."""
        try:
            yield
        except ConsumerError:
            raise
        except Exception as error:
            raise self._translated(error, method, lasting) from None

    def _translated(self, error: Exception, method: str, lasting: type[ConsumerError]) -> ConsumerError:
        service, failure = self._service, failure_of(error)
        explained = service.failed(failure)
        if explained is not None:
            kind = lasting if isinstance(explained, ConfigurationError) else SinkUnavailable
            made = kind(f"{service.named}: {explained}")
            made.cause = explained.cause
            return made
        advice = service.advice.get(failure.code) or service.advice.get(f"{method} {failure.status}", "")
        words = f"{method} at {service.host}: {failure.words}" + (f": {advice}" if advice else "")
        made = (lasting if failure.lasting else SinkUnavailable)(f"{service.named}: {words}")
        made.code = failure.code
        made.cause = service.named, failure.code or failure.words
        return made
