"""Renew shared credentials ahead of their expiry."""

import random
from collections.abc import Hashable
from typing import Protocol

from consumer.aws import credential_process
from consumer.aws.credentials import SharedCredentials
from consumer.errors import ConsumerError
from consumer.runtime.backoff import RetryPolicy

CHECK_INTERVAL = 2.0  # seconds between two checks whether credentials are due or rejected
REJECTED_INTERVAL = 30.0  # seconds between two loads of credentials that the service rejects
# Valid credentials leave time, so a failing source is asked once a minute in the end.
RENEWALS = RetryPolicy(first=0.5, most=60.0)
# At the start there are none yet, and the start gives up after ten seconds.
FIRST_LOADS = RetryPolicy(first=0.5, most=1.0)


class Outages(Protocol):
    """The part of `telemetry.outages` that logs repeated failures."""

    def failed(self, event: str, who: Hashable, error: Exception, /, *, good_for: float | None) -> None: ...

    def worked(self, who: Hashable, /) -> None: ...


class Renewal:
    """A task that loads credentials ahead of their expiry. It may hang, so it needs a lane without other tasks."""

    def __init__(self, credentials: SharedCredentials, outages: Outages) -> None:
        self._credentials, self._outages = credentials, outages
        self._rng = random.Random()
        self._failures = 0
        self._had_credentials = False  # before that, the checks at the start report failures
        self._reload_from = float("-inf")
        credentials.has_renewal = True

    def step(self, now: float) -> float | None:
        credentials = self._credentials
        if not credentials.due and not (credentials.rejected and now >= self._reload_from):
            return (
                None if credentials.fixed else min(CHECK_INTERVAL, max(RENEWALS.first, credentials.seconds_left / 10))
            )
        if credentials.rejected:
            self._reload_from = now + REJECTED_INTERVAL
        credentials.load()
        if credentials.trouble is None:
            return self._worked()
        return self._failed(credentials.trouble)

    def close(self) -> None:
        """End the credential processes that still run."""
        credential_process.end_all()

    def _worked(self) -> float:
        self._outages.worked(self)
        self._failures, self._had_credentials = 0, True
        return RENEWALS.first

    def _failed(self, trouble: ConsumerError) -> float:
        """Return the seconds until the retry: few at the start and near the expiry, more while there is time."""
        self._failures += 1
        left = max(0.0, self._credentials.seconds_left)
        if self._had_credentials:
            good_for = None if left == float("inf") else round(left)
            self._outages.failed("credentials.not_renewed", self, trouble, good_for=good_for)
        policy = RENEWALS if self._had_credentials else FIRST_LOADS
        longest = min(left / 10 if left else CHECK_INTERVAL, policy.longest(self._failures))
        return max(policy.first, policy.jittered(longest, self._rng))
