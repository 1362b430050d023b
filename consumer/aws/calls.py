"""Goes around each call of an adapter: whatever is raised leaves it as one of our errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, SSLError

from consumer.aws.codes import DENIED, THROTTLED
from consumer.aws.network import host_of
from consumer.aws.reasons import Reason, asked_host, reason
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable, Retryable

Meaning = ConsumerError | type[ConsumerError] | None


class Calls:
    """Translates what the calls of one client raise. `what` is what they are about, such as `stream calls`.

    `meaning` gets action and reason, and returns what that is to the adapter: an error, or the class of one.
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
        """Around a call of the running worker: nothing is an operator's mistake any more, so all is retried."""
        try:
            yield
        except Exception as error:
            raise self._translated(error, action, running=True) from None

    @contextmanager
    def checking(self, action: str) -> Iterator[None]:
        """Around a call of the check: what waiting will not mend is the operator's."""
        try:
            yield
        except Exception as error:
            raise self._translated(error, action, running=False) from None

    def member(self, response: Mapping[str, Any], name: str, action: str) -> Any:
        """Return what a response must have: an absent member says nothing, least of all that there are no rows.

        Raises:
            ConsumerError: it is not there.
        """
        if response.get(name) is None:
            raise self.incomplete(action)
        return response[name]

    def incomplete(self, action: str) -> ConsumerError:
        """Return what to raise for a response that lacks what it must have."""
        return self._unavailable(f"{self._what}: {action}: the response is incomplete at {host_of(self._endpoint)}")

    def refused(self, code: str) -> ConsumerError:
        """Return what to raise for a response that says of one of its parts that it failed."""
        made = self._unavailable(f"{self._what}: {code}")
        made.code, made.cause = code, (self._what, _trouble(None, code))
        return made

    def _translated(self, error: Exception, action: str, running: bool) -> Exception:
        """Return the error of ours that says the same."""
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
        """Say of which host's response it is, where that could not be used: a gateway may have answered."""
        if (
            isinstance(error, Retryable)
            and isinstance(error, self._unavailable)
            and not str(error).startswith(self._what)
        ):
            return type(error)(f"{self._what}: {error} at {host_of(self._endpoint)}")
        return error

    def _line(self, error: Exception, action: str, found: Reason) -> str:
        host = asked_host(error, self._endpoint)
        if isinstance(error, ConnectionError | HTTPClientError):
            return f"{self._what} does not answer at {host}: {action}: {found.words}"
        if not isinstance(error, ClientError):
            return f"{self._what}: {action}: {found.words}" + (f" at {host}" if found.odd else "")
        refused = "is denied" if found.code in DENIED else "is refused" if found.lasting else "failed"
        return f"{self._what}: {self._service}:{action} {refused} at {host}: {found.words}"


def _trouble(error: Exception | None, code: str) -> str:
    """Return one word for what one party says in several: which of them a call meets is chance."""
    if code in THROTTLED:
        return "throttled"
    if isinstance(error, ConnectionError | HTTPClientError) and not isinstance(error, SSLError):
        return "unreachable"
    return code
