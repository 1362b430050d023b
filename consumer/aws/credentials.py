"""Share AWS credentials between all clients. `renewal` loads them ahead of their expiry on a separate thread.

While their source hangs or fails, requests are signed with the credentials that are still valid. Once these have
expired, each request fails with the reason.
"""

import logging
import threading
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Protocol

from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError

from consumer.aws.codes import THROTTLED
from consumer.aws.providers import Loaded, now
from consumer.aws.reasons import NO_CREDENTIALS, Reason, reason
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable

# How long before the expiry credentials are renewed; after half their life if that is shorter.
AHEAD = timedelta(minutes=15)
FIRST_WAIT = 1.0  # seconds of one wait for the first credentials, so that a signal is noticed between two waits

# botocore logs failures with a traceback, which may contain the output of a credential process.
for _name in ("botocore.credentials", "botocore.tokens"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Source(Protocol):
    """A source of credentials. `asking`: its name in messages."""

    asking: str

    def __call__(self) -> Loaded | None: ...


class SharedCredentials(Credentials):
    """The credentials that every client of a session signs with.

    A `Renewal` loads them. Without one, as in a short command, the first request loads them.
    """

    def __init__(self, source: Source, clock: Callable[[], datetime] = now) -> None:
        self._source, self._clock = source, clock
        self._held: Loaded | None = None
        self._renew_at: datetime | None = None
        self._changed = threading.Condition()
        self._loading = threading.Lock()
        self._rejected = False
        self.trouble: ConsumerError | None = None
        self.has_renewal = False
        self.method = "shared"

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return valid credentials.

        Raises:
            CredentialsUnavailable: there are none now.
            ConfigurationError: there are none, and waiting will not help.
        """
        held = self._held
        if held is not None and (held.expires is None or held.expires > self._clock()):
            return held.keys
        if not self.has_renewal:
            with self._loading:
                if not self.valid:
                    self.load()
        if self._held is None or not self.valid:
            missing = self._missing()
            missing.cause = (self.trouble and self.trouble.cause) or self._cause
            raise missing
        return self._held.keys

    @property
    def valid(self) -> bool:
        """Return whether there are credentials that have not expired."""
        held = self._held
        return held is not None and (held.expires is None or held.expires > self._clock())

    @property
    def asking(self) -> str:
        """Return the name of the source that is asked."""
        return self._source.asking

    @property
    def _cause(self) -> Hashable:
        """Return the cause that all failures for lack of these credentials share."""
        return "credentials", id(self)

    @property
    def fixed(self) -> bool:
        """Return whether the credentials never change."""
        return self._held is not None and self._held.fixed

    @property
    def due(self) -> bool:
        """Return whether it is time to load the credentials."""
        return not self.valid or (self._renew_at is not None and self._renew_at <= self._clock())

    @property
    def rejected(self) -> bool:
        """Return whether the service rejects the credentials."""
        return self._rejected

    def reject(self) -> None:
        """Ask for other credentials, because the service rejects these. The source may have new ones."""
        self._rejected = True

    def load(self) -> None:
        """Ask the source; afterwards `trouble` says why it failed, or is None."""
        try:
            self._take(self._source())
            self.trouble, self._rejected = None, False
        except Exception as error:
            self.trouble = _trouble(error, self._source.asking)
            self.trouble.cause = getattr(error, "cause", None) or self._cause
        with self._changed:
            self._changed.notify_all()

    def ready(self) -> None:
        """Wait for the first credentials, `FIRST_WAIT` seconds at most.

        Raises:
            CredentialsUnavailable, ConfigurationError: there are none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.valid or self.trouble is not None, FIRST_WAIT)
        self.get_frozen_credentials()

    @property
    def seconds_left(self) -> float:
        """Return the seconds until they expire; infinite if they never do, 0 if there are none."""
        held = self._held
        if held is None or held.expires is None:
            return 0.0 if held is None else float("inf")
        return (held.expires - self._clock()).total_seconds()

    def _take(self, loaded: Loaded | None) -> None:
        if loaded is None:
            raise ConfigurationError(NO_CREDENTIALS)
        _check(loaded.keys, self._source.asking)
        left = loaded.expires - self._clock() if loaded.expires is not None else None
        if left is not None and left <= timedelta(0):
            raise CredentialsUnavailable(
                f"AWS credentials: {self._source.asking}: its credentials expired at {loaded.expires:%F %T %Z}:"
                " check this machine's clock"
            )
        self._held = loaded
        self._renew_at = None if left is None else self._clock() + left - min(AHEAD, left / 2)

    def _missing(self) -> ConsumerError:
        """Return the error for a request that needs credentials while there are none."""
        if self._held is not None and self._held.expires is not None:
            why = str(self.trouble or f"still waiting for {self._source.asking}").removeprefix("AWS credentials: ")
            return CredentialsUnavailable(f"AWS credentials expired at {self._held.expires:%F %T %Z}: {why}")
        if self.trouble is not None:
            return type(self.trouble)(str(self.trouble))
        return CredentialsUnavailable(f"AWS credentials: still waiting for {self._source.asking}")

    # The attributes that botocore reads ------------------------------------------------------------------------------

    @property
    def access_key(self) -> str:  # type: ignore[override]
        return str(self.get_frozen_credentials().access_key)

    @property
    def secret_key(self) -> str:  # type: ignore[override]
        return str(self.get_frozen_credentials().secret_key)

    @property
    def token(self) -> str | None:  # type: ignore[override]
        return self.get_frozen_credentials().token

    @property
    def account_id(self) -> str | None:
        return self.get_frozen_credentials().account_id


def _check(keys: ReadOnlyCredentials, asking: str) -> None:
    """Reject values that an HTTP header cannot hold, because the error of the request would show them."""
    for name, value in (("access key id", keys.access_key), ("secret key", keys.secret_key), ("token", keys.token)):
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"AWS credentials: {asking}: the {name} is not text")
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            raise ConfigurationError(f"AWS credentials: {asking}: the {name} contains a blank or a line break")


def _trouble(error: Exception, asking: str) -> ConsumerError:
    """Translate an error of a source into our error: one line that names the source."""
    if isinstance(error, ConsumerError):
        prefix = "" if "AWS" in str(error)[:7] else "AWS credentials: "
        return type(error)(f"{prefix}{error}")
    found = reason(error)
    who = _service(error, found) if isinstance(error, ClientError) else asking
    kind = ConfigurationError if found.lasting else CredentialsUnavailable
    who = "" if who == "AWS credentials" else f"{who}: "
    return kind(f"AWS credentials: {who}{found.words.removeprefix('AWS: ')}")


def _service(error: ClientError, found: Reason) -> str:
    """Return which service gave no credentials, and whether it may soon."""
    sso = error.operation_name in ("GetRoleCredentials", "CreateToken", "RegisterClient")
    service = "SSO" if sso else "STS"
    if found.code in THROTTLED:
        return f"{service} throttles {error.operation_name}"
    return f"{service} {'rejects' if found.lasting else 'does not respond to'} {error.operation_name}"
