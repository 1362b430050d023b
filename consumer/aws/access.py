"""Create AWS clients: one botocore session, whose clients share their credentials."""

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
from consumer.aws.models import loader_of
from consumer.aws.providers import Chain, Role
from consumer.aws.reasons import message_of
from consumer.aws.variables import bad_variable
from consumer.errors import ConfigurationError

# For STS and SSO. botocore's own timeouts are minutes, longer than the start waits.
FOR_CREDENTIALS = Config(connect_timeout=5.0, read_timeout=10.0, retries={"mode": "standard", "total_max_attempts": 3})

URL_FORM = "say http://HOST:PORT or https://HOST"
# urllib3 logs each certificate for another host. Our error says the same, and is logged less often.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


class _Requested(threading.local):
    """The URL that this thread requested last."""

    url = ""


class _Provider(NamedTuple):
    """The component that botocore asks for a session's credentials."""

    credentials: SharedCredentials

    def load_credentials(self) -> SharedCredentials:
        """Return the shared credentials; nothing is loaded yet."""
        return self.credentials


class Access:
    """One botocore session. With a `role`, it assumes that role with the credentials of `source`.

    It is not boto3's session, because that loads half of S3 first, which takes 80 ms of CPU.
    """

    def __init__(self, region: str | None = None, role: str = "", source: "Access | None" = None) -> None:
        self._requested = _Requested()
        self.session = session = botocore.session.Session()
        session.register_component("data_loader", loader_of(session))
        session.set_default_client_config(FOR_CREDENTIALS)
        session.register("before-send", self._note)
        session.register("response-received", self._annotate)
        self.credentials: SharedCredentials = SharedCredentials(
            Chain(session, region) if source is None else Role(session, role, region, source.credentials)
        )
        session.register_component("credential_provider", _Provider(self.credentials))

    def client(self, service: str, region: str | None, endpoint_url: str | None, config: Config) -> Any:
        """Create a client. botocore resolves profiles, environment variables and endpoints.

        Raises:
            ConfigurationError: the region or profile is missing, the endpoint is not a URL, or a value is invalid.
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
            return message_of(error)
        if (problem := bad_variable(self.session)) is not None:
            return problem
        if "endpoint" in str(error).lower() or "port" in str(error).lower():
            return f"{_endpoint_of(service)}: {URL_FORM}"
        return message_of(error)

    def _bundle(self) -> str | None:
        return self.session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")

    def _note(self, request: Any = None, **_: Any) -> None:
        """Note the requested URL, because account endpoints differ from the client's endpoint."""
        self._requested.url = request.url

    def _annotate(self, parsed_response: Any = None, exception: Any = None, **_: Any) -> None:
        """Add the CA bundle or the requested URL to an error, for its message."""
        if exception is not None and hasattr(exception, "kwargs"):
            exception.kwargs.setdefault("ca_bundle", self._bundle())
        elif parsed_response is not None and "Error" in parsed_response:
            parsed_response.setdefault("ResponseMetadata", {})["AskedUrl"] = self._requested.url
            if parsed_response["Error"].get("Code") in STALE:
                self.credentials.reject()


class Accesses:
    """The sessions of one process: one per role, and one without a role. Adapters of the same role share credentials.

    `region` and `endpoint_url` are the settings for all AWS clients.
    """

    def __init__(self, region: str | None = None, endpoint_url: str | None = None) -> None:
        self.region, self.endpoint_url = region, endpoint_url
        self._by_role: dict[str, Access] = {}

    def of(self, role: str = "") -> Access:
        """Return the session for a role; "" is the one whose credentials assume the others."""
        if role not in self._by_role:
            self._by_role[role] = Access(self.region, role, self.of() if role else None)
        return self._by_role[role]

    @property
    def credentials(self) -> list[SharedCredentials]:
        """Return the credentials of all sessions so far."""
        return [access.credentials for access in self._by_role.values()]


def _endpoint_of(service: str) -> str:
    return f"the endpoint of {service} (--endpoint-url, AWS_ENDPOINT_URL, endpoint_url of the profile) is not a URL"


def check_endpoint(service: str, url: str) -> None:
    """Reject an endpoint that is not a URL, or that holds a password, because messages show endpoints.

    Raises:
        ConfigurationError: the endpoint is invalid.
    """
    if "@" in url:
        raise ConfigurationError(f"the endpoint of {service} must not contain a user or a password")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(f"{_endpoint_of(service)}: {url!r}: {URL_FORM}")
