"""Credentials that all clients share, renewed ahead of need on a thread of their own.

A request is signed with what is valid. Whoever gives out credentials may hang or fail meanwhile: that costs nothing
until they have really expired, and is then the reason that each request gives.
"""

import logging
import random
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
from consumer.runtime.backoff import RetryPolicy

AHEAD = timedelta(minutes=15)  # before the end they are renewed; sooner when they are shorter-lived than twice that
LOOK_AGAIN = 2.0  # seconds between two looks whether it is time, or whether the service refuses what we have
# Valid credentials leave time, so a failing endpoint is asked once a minute at last.
RENEWALS = RetryPolicy(first=0.5, most=60.0)
# At the start there are none yet, and the start gives up after a few seconds.
FIRST_LOADS = RetryPolicy(first=0.5, most=1.0)
WAIT = 1.0  # for the first credentials at a time, so that a signal is heeded between
MOST_DOUBTS = 30.0  # seconds between two loads because the service refused what we have

# It logs failures with a traceback, which may hold what a helper printed. We say them ourselves, in one line.
for _name in ("botocore.credentials", "botocore.tokens"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Source(Protocol):
    """Who gives out credentials."""

    asking: str

    def __call__(self) -> Loaded | None: ...


class SharedCredentials(Credentials):
    """What every client of a session signs with.

    Until `renewed_apart` is set, whoever needs credentials loads them itself, as a short command does.
    """

    def __init__(self, source: Source, clock: Callable[[], datetime] = now) -> None:
        self._source, self._clock = source, clock
        self._held: Loaded | None = None
        self._renew_at: datetime | None = None
        self._changed = threading.Condition()
        self._loading = threading.Lock()
        self._doubted = False
        self.trouble: ConsumerError | None = None
        self.renewed_apart = False
        self.method = "shared"

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return what is valid now.

        Raises:
            CredentialsUnavailable: nothing is, for now.
            ConfigurationError: nothing is, and waiting will not help.
        """
        held = self._held
        if held is not None and (held.expires is None or held.expires > self._clock()):
            return held.keys
        if not self.renewed_apart:
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
        """Whether there is something to sign with."""
        held = self._held
        return held is not None and (held.expires is None or held.expires > self._clock())

    @property
    def asking(self) -> str:
        """Who gives them out."""
        return self._source.asking

    @property
    def _cause(self) -> Hashable:
        """What all failures for want of these have in common, whoever is asked with them."""
        return "credentials", id(self)

    @property
    def fixed(self) -> bool:
        """Whether they never change."""
        return self._held is not None and self._held.fixed

    @property
    def due(self) -> bool:
        """Whether it is time to load them."""
        return not self.valid or (self._renew_at is not None and self._renew_at <= self._clock())

    @property
    def doubted(self) -> bool:
        """Whether the service refuses them."""
        return self._doubted

    def doubt(self) -> None:
        """Have them loaded anew: the service refuses them, and others may have been given out."""
        self._doubted = True

    def load(self) -> None:
        """Ask for new ones; `trouble` says afterwards why there are none."""
        try:
            self._take(self._source())
            self.trouble, self._doubted = None, False
        except Exception as error:
            self.trouble = _trouble(error, self._source.asking)
            self.trouble.cause = getattr(error, "cause", None) or self._cause
        with self._changed:
            self._changed.notify_all()

    def ready(self) -> None:
        """Wait a moment for the first credentials.

        Raises:
            CredentialsUnavailable, ConfigurationError: there are none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.valid or self.trouble is not None, WAIT)
        self.get_frozen_credentials()

    @property
    def seconds_left(self) -> float:
        """Seconds for which they are still good."""
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
                f"AWS credentials: {self._source.asking}: those it gives out expired at {loaded.expires:%F %T %Z}:"
                " is this machine's clock right?"
            )
        self._held = loaded
        self._renew_at = None if left is None else self._clock() + left - min(AHEAD, left / 2)

    def _missing(self) -> ConsumerError:
        if self._held is not None and self._held.expires is not None:
            why = str(self.trouble or f"still waiting for {self._source.asking}").removeprefix("AWS credentials: ")
            return CredentialsUnavailable(f"AWS credentials expired at {self._held.expires:%F %T %Z}: {why}")
        if self.trouble is not None:
            return type(self.trouble)(str(self.trouble))
        return CredentialsUnavailable(f"AWS credentials: still waiting for {self._source.asking}")

    # What botocore reads one by one ----------------------------------------------------------------------------------

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


class Outages(Protocol):
    """Who tells failures that repeat: `telemetry.outages`."""

    def failed(self, event: str, who: Hashable, error: Exception, /, *, good_for: float | None) -> None: ...

    def worked(self, who: Hashable, /) -> None: ...


class Renewal:
    """The task that loads credentials ahead of need, on a lane where it may hang."""

    def __init__(self, credentials: SharedCredentials, outages: Outages) -> None:
        self._credentials, self._outages = credentials, outages
        self._rng = random.Random()
        self._failures = 0
        self._held_before = False  # the first credentials are the check's to speak of
        self._doubt_from = float("-inf")
        credentials.renewed_apart = True

    def step(self, now: float) -> float | None:
        mine = self._credentials
        if not mine.due and not (mine.doubted and now >= self._doubt_from):
            return None if mine.fixed else min(LOOK_AGAIN, max(RENEWALS.first, mine.seconds_left / 10))
        if mine.doubted:
            self._doubt_from = now + MOST_DOUBTS
        mine.load()
        if mine.trouble is None:
            return self._worked(now)
        return self._failed(mine.trouble, now)

    def _worked(self, now: float) -> float:
        self._outages.worked(self)
        self._failures, self._held_before = 0, True
        return RENEWALS.first

    def _failed(self, trouble: ConsumerError, now: float) -> float:
        """Try again: often at the start and when the end is near, seldom while there is time."""
        self._failures += 1
        left = max(0.0, self._credentials.seconds_left)
        if self._held_before:
            good_for = None if left == float("inf") else round(left)
            self._outages.failed("credentials.not_renewed", self, trouble, good_for=good_for)
        policy = RENEWALS if self._held_before else FIRST_LOADS
        longest = min(left / 10 if left else LOOK_AGAIN, policy.longest(self._failures))
        return max(policy.first, policy.jittered(longest, self._rng))


def _check(keys: ReadOnlyCredentials, asking: str) -> None:
    """Refuse what no header can hold; its text would be in the error that comes of it."""
    for name, value in (("access key id", keys.access_key), ("secret key", keys.secret_key), ("token", keys.token)):
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"AWS credentials: {asking}: the {name} is no text")
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            raise ConfigurationError(f"AWS credentials: {asking}: the {name} holds a blank, a line break or the like")


def _trouble(error: Exception, asking: str) -> ConsumerError:
    if isinstance(error, ConsumerError):
        prefix = "" if "AWS" in str(error)[:7] else "AWS credentials: "
        return type(error)(f"{prefix}{error}")
    found = reason(error)
    who = _service(error, found) if isinstance(error, ClientError) else asking
    kind = ConfigurationError if found.lasting else CredentialsUnavailable
    who = "" if who == "AWS credentials" else f"{who}: "
    return kind(f"AWS credentials: {who}{found.words.removeprefix('AWS: ')}")


def _service(error: ClientError, found: Reason) -> str:
    """Return which service did not give credentials, and whether it may soon."""
    sso = error.operation_name in ("GetRoleCredentials", "CreateToken", "RegisterClient")
    service = "SSO" if sso else "STS"
    if found.code in THROTTLED:
        return f"{service} throttles {error.operation_name}"
    return f"{service} {'refuses' if found.lasting else 'does not answer'} {error.operation_name}"
