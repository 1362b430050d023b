"""Makes AWS clients: one botocore session, whose clients share their credentials."""

import logging
import os
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from consumer.aws.codes import STALE
from consumer.aws.credentials import SharedCredentials
from consumer.aws.providers import Chain, Role
from consumer.aws.reasons import own_words
from consumer.aws.variables import bad_variable
from consumer.errors import ConfigurationError

# For those who give out credentials. Each waits for our patience or the credentials' end, not for botocore's minutes.
GIVERS = Config(connect_timeout=5.0, read_timeout=10.0, retries={"mode": "standard", "total_max_attempts": 3})

# It warns of each certificate that is for another host; our own error says so, too, and thins out.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


class _Asked(threading.local):
    url = ""


class _Provider(NamedTuple):
    """What botocore asks for a session's credentials."""

    credentials: SharedCredentials

    def load_credentials(self) -> SharedCredentials:
        """Return them; nothing is loaded yet."""
        return self.credentials


class Access:
    """One botocore session. It is botocore's own, as boto3's is: boto3's would load half of S3 first, 80 ms of CPU.

    With a `role`, that is assumed with the credentials of `source`; else credentials are found as botocore does.
    """

    def __init__(self, region: str | None = None, role: str = "", source: "Access | None" = None) -> None:
        self._asked = _Asked()
        self.session = session = botocore.session.Session()
        session.set_default_client_config(GIVERS)
        session.register("before-send", self._note)
        session.register("response-received", self._annotate)
        self.credentials: SharedCredentials = SharedCredentials(
            Chain(session, region) if source is None else Role(session, role, region, source.credentials)
        )
        session.register_component("credential_provider", _Provider(self.credentials))

    def client(self, service: str, region: str | None, endpoint_url: str | None, config: Config) -> Any:
        """Make a client; profiles, environment and endpoints as botocore finds them.

        Raises:
            ConfigurationError: no region, no such profile, an endpoint that is no URL, a value that cannot be.
        """
        if endpoint_url:
            check_endpoint(service, endpoint_url)
        try:
            client = self.session.create_client(service, region_name=region, endpoint_url=endpoint_url, config=config)
        except (BotoCoreError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
            raise ConfigurationError(self._mistake(error, service)) from None
        check_endpoint(service, client.meta.endpoint_url)
        return client

    def _mistake(self, error: Exception, service: str) -> str:
        if isinstance(error, BotoCoreError):
            return own_words(error)
        if (problem := bad_variable(self.session)) is not None:
            return problem
        if "endpoint" in str(error).lower() or "port" in str(error).lower():
            return f"{_endpoint_of(service)}: say http://HOST:PORT or https://HOST"
        return own_words(error)

    def _bundle(self) -> str | None:
        return self.session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")

    def _note(self, request: Any = None, **_: Any) -> None:
        """Note whom this thread asks: endpoints of an account are not the client's."""
        self._asked.url = request.url

    def _annotate(self, parsed_response: Any = None, exception: Any = None, **_: Any) -> None:
        """Add to an error what its message will need."""
        if exception is not None and hasattr(exception, "kwargs"):
            exception.kwargs.setdefault("ca_bundle", self._bundle())
        elif parsed_response is not None and "Error" in parsed_response:
            parsed_response.setdefault("ResponseMetadata", {})["AskedUrl"] = self._asked.url
            if parsed_response["Error"].get("Code") in STALE:
                self.credentials.reject()


def _endpoint_of(service: str) -> str:
    return f"the endpoint of {service} (--endpoint-url, AWS_ENDPOINT_URL, endpoint_url of the profile) is no URL"


def check_endpoint(service: str, url: str) -> None:
    """Refuse an endpoint that is no URL, or has a user or a password: each message that names it would show them.

    Raises:
        ConfigurationError: it is such a one.
    """
    if "@" in url:
        raise ConfigurationError(f"the endpoint of {service} takes no user and no password")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(f"{_endpoint_of(service)}: {url!r}: say http://HOST:PORT or https://HOST")
