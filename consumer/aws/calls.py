"""Translate every error of an adapter's call into one of our errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, SSLError

from consumer.aws.codes import DENIED, THROTTLED
from consumer.aws.network import host_of
from consumer.aws.reasons import Reason, reason, requested_host
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable, Retryable

Meaning = ConsumerError | type[ConsumerError] | None


class Calls:
    """Translate the errors of one client. `what` names its subject in messages, such as `stream calls`.

    `unavailable`: the error class of temporary failures. `meaning`: return the adapter's error, or its class, for an
    action and a reason; None for the default.
    """

    def __init__(
        self,
        what: str,
        client: Any,
        unavailable: type[ConsumerError],
        meaning: Callable[[str, Reason], Meaning] = lambda *_: None,
    ) -> None:
        self._what, self._unavailable, self._meaning = what, unavailable, meaning
        self._endpoint = client.meta.endpoint_url
        self._service = client.meta.service_model.endpoint_prefix

    @contextmanager
    def running(self, action: str) -> Iterator[None]:
        """Translate the errors of a call while the worker runs. All are temporary, because it has worked before."""
        try:
            yield
        except Exception as error:
            raise self._translated(error, action, running=True) from None

    @contextmanager
    def checking(self, action: str) -> Iterator[None]:
        """Translate the errors of a check. Lasting ones are configuration errors."""
        try:
            yield
        except Exception as error:
            raise self._translated(error, action, running=False) from None

    def member(self, response: Mapping[str, Any], name: str, action: str) -> Any:
        """Return a required member of a response. If it is absent, that does not mean that it is empty.

        Raises:
            ConsumerError: the member is absent.
        """
        if response.get(name) is None:
            raise self.incomplete(action)
        return response[name]

    def incomplete(self, action: str) -> ConsumerError:
        """Return the error for a response without a required member."""
        return self._unavailable(f"{self._what}: {action}: the response is incomplete at {host_of(self._endpoint)}")

    def rejected(self, code: str) -> ConsumerError:
        """Return the error for a response in which one part failed with `code`."""
        made = self._unavailable(f"{self._what}: {code}")
        made.code, made.cause = code, (self._what, _trouble(None, code))
        return made

    def _translated(self, error: Exception, action: str, running: bool) -> Exception:
        """Return our error for any error."""
        if isinstance(error, CredentialsUnavailable) or (running and isinstance(error, ConfigurationError)):
            made = self._unavailable(f"{self._what}: {action}: {error}")
            made.cause = error.cause
            return made
        if isinstance(error, ConsumerError):
            return self._located(error)
        found = reason(error)
        meaning = self._meaning(action, found) or (
            ConfigurationError if found.lasting and not running else self._unavailable
        )
        made = meaning if isinstance(meaning, ConsumerError) else meaning(self._line(error, action, found))
        made.code = found.code or type(error).__name__
        made.cause = self._what, _trouble(error, made.code)
        return made

    def _located(self, error: ConsumerError) -> ConsumerError:
        """Add the host to an error about an unusable response, because a gateway may have sent it."""
        if (
            isinstance(error, Retryable)
            and isinstance(error, self._unavailable)
            and not str(error).startswith(self._what)
        ):
            return type(error)(f"{self._what}: {error} at {host_of(self._endpoint)}")
        return error

    def _line(self, error: Exception, action: str, found: Reason) -> str:
        host = requested_host(error, self._endpoint)
        if isinstance(error, ConnectionError | HTTPClientError):
            return f"{self._what} does not respond at {host}: {action}: {found.words}"
        if not isinstance(error, ClientError):
            return f"{self._what}: {action}: {found.words}" + (f" at {host}" if found.malformed else "")
        return f"{self._what}: {self._service}:{action} {_verb(found)} at {host}: {found.words}"


def _verb(found: Reason) -> str:
    if found.code in THROTTLED:
        return "is throttled"
    if found.code in DENIED:
        return "is denied"
    return "is refused" if found.lasting else "failed"


def _trouble(error: Exception | None, code: str) -> str:
    """Return one word for the codes that mean the same, because it is chance which of them a call gets."""
    if code in THROTTLED:
        return "throttled"
    if isinstance(error, ConnectionError | HTTPClientError) and not isinstance(error, SSLError):
        return "unreachable"
    return code
