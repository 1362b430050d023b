"""Get credentials from the metadata services of instances and containers, and say why they give none.

botocore's fetchers drop the responses of these services, so each failure looks like a machine without a role. Here the
responses are kept. A failure that may pass is an error that the start retries.
"""

import json
import re
from http import HTTPStatus
from http.client import IncompleteRead
from typing import Any
from urllib.parse import urlsplit

from botocore.credentials import ContainerProvider, Credentials, InstanceMetadataProvider, RefreshableCredentials
from botocore.exceptions import (
    ConnectionClosedError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    ReadTimeoutError,
)

from consumer.aws.codes import is_transient
from consumer.aws.network import host_of, why
from consumer.aws.reasons import NO_CREDENTIALS, one_line
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable

INSTANCE = "the instance metadata service"
CONTAINER = "the container's credentials endpoint"
ROLE_LISTING = "/security-credentials/"
FIELDS = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
CODE = re.compile(r"[A-Za-z.]{1,64}")
# What botocore raises for a body that is valid JSON without credentials.
ODD_BODY = (AttributeError, LookupError, TypeError, ValueError)


class _NotingSession:
    """Send requests with botocore's HTTP session, and keep the responses."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.responses: list[Any] = []
        self.cut_off = ""  # why the last request got no complete response, although a server took the connection

    def clear(self) -> None:
        """Forget earlier requests."""
        self.responses, self.cut_off = [], ""

    def send(self, request: Any) -> Any:
        """Send a request like botocore's session."""
        self.cut_off = ""
        try:
            response = self._session.send(request)
            if response.raw.length_remaining:  # botocore does not compare the body with its Content-Length
                raise ConnectionClosedError(endpoint_url=request.url, error=IncompleteRead(response.content))
        except (ConnectionClosedError, ReadTimeoutError) as error:
            self.cut_off = why(error)
            raise
        self.responses.append(response)
        return response

    @property
    def proxy(self) -> str:
        """Return the proxy between this machine and the service, without its password; "" if there is none."""
        url = self.responses[-1].url if self.responses else ""
        return host_of(self._session._proxy_config.proxy_url_for(url) or "")

    def problem(self, party: str) -> ConsumerError | None:
        """Return why there are no credentials; None if no server responded."""
        if self.cut_off:
            return CredentialsUnavailable(f"{party}: {self.cut_off}")
        if not self.responses:
            return None
        last = self.responses[-1]
        # A failed request for a token makes the next request fail with 401: name the first failure.
        status = next((r.status_code for r in self.responses if is_transient("", r.status_code)), last.status_code)
        if is_transient("", status):
            return CredentialsUnavailable(f"{party} responded with {status}")
        if status == HTTPStatus.OK:
            return CredentialsUnavailable(f"{party} responded {_described(last.content)}")
        return None


class InstanceMetadata(InstanceMetadataProvider):
    """botocore's provider for a role of an EC2 instance."""

    def __init__(self, provider: Any) -> None:
        fetcher = provider._role_fetcher
        self._noted = fetcher._session = _NotingSession(fetcher._session)
        super().__init__(fetcher)

    def load(self) -> Credentials | None:
        """Return credentials; None if this machine has no metadata service.

        Raises:
            CredentialsUnavailable: the service gives none now.
            ConfigurationError: the instance has no role, or may not ask.
        """
        self._noted.clear()
        try:
            found: Credentials | None = super().load()
        except (MetadataRetrievalError, *ODD_BODY):
            if (problem := self._problem()) is None:
                raise
            raise problem from None
        if found is None and (problem := self._problem()) is not None:
            raise problem
        return found

    def _problem(self) -> ConsumerError | None:
        problem = self._noted.problem(INSTANCE)
        if self._noted.responses and (proxy := self._noted.proxy):
            host = urlsplit(self._noted.responses[-1].url).hostname
            advice = f"put {host} into NO_PROXY"
            return ConfigurationError(f"{NO_CREDENTIALS}; {INSTANCE} was asked through the proxy {proxy}: {advice}")
        if problem is not None or not self._noted.responses:
            return problem
        last = self._noted.responses[-1]
        if last.status_code == HTTPStatus.NOT_FOUND:
            if not urlsplit(last.url).path.endswith(ROLE_LISTING):
                return CredentialsUnavailable(f"{INSTANCE} responded with 404 for the role's credentials")
            return ConfigurationError(f"no AWS credentials: no role is attached to this instance ({INSTANCE}: 404)")
        return ConfigurationError(f"{NO_CREDENTIALS}; {INSTANCE} responded with {last.status_code}")


class ContainerMetadata(ContainerProvider):
    """botocore's provider for a role of a container (ECS, EKS Pod Identity)."""

    def __init__(self, provider: Any) -> None:
        fetcher = provider._fetcher
        self._noted = fetcher._session = _NotingSession(fetcher._session)
        super().__init__(provider._environ, fetcher)

    def load(self) -> RefreshableCredentials | None:  # type: ignore[override]
        """Return credentials; None if no variable names an endpoint.

        Raises:
            CredentialsUnavailable: the endpoint gives none now.
            ConfigurationError: the endpoint rejects the request.
        """
        self._noted.clear()
        try:
            found: RefreshableCredentials | None = super().load()
        except (CredentialRetrievalError, HTTPClientError, *ODD_BODY):
            if (problem := self._problem()) is None:
                raise
            raise problem from None
        return found

    def _problem(self) -> ConsumerError | None:
        if (problem := self._noted.problem(CONTAINER)) is not None or not self._noted.responses:
            return problem
        status = self._noted.responses[-1].status_code
        return ConfigurationError(f"{CONTAINER} responded with {status}: attach a role to the container")


def _described(body: bytes) -> str:
    """Say what a response contains instead of credentials, without its secrets; continues "responded …"."""
    if not body.strip():
        return "with an empty body"
    try:
        found = json.loads(body)
    except ValueError:
        return "with a body that is not JSON"
    if not isinstance(found, dict):
        return "with JSON that is not an object"
    code = found.get("Code")
    missing = [field for field in FIELDS if not isinstance(found.get(field), str)]
    if isinstance(code, str) and CODE.fullmatch(code) and len(missing) == len(FIELDS):
        return f"with {code}: {one_line(str(found.get('Message') or 'no message'))}"
    return f"without {', '.join(missing)}" if missing else "with an Expiration that is not a time"
