"""Log repeated failures: one line per cause, more lines at growing intervals with a count, and one line at the end.

Failures with the same cause share their lines. A lease table that throttles fails renewals, scans and the checkpoints
of hundreds of shards. An operator needs one line.
"""

import re
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from consumer.errors import ConsumerError, CredentialsUnavailable, Retryable, where

# Seconds between the first and the second line. Each later interval is twice as long, up to MAX_INTERVAL.
FIRST_INTERVAL = 60.0
MAX_INTERVAL = 3600.0
# A cause that returns within this many seconds continues its outage, so flapping failures also thin out.
QUIET = 60.0
# Words with a digit, such as shard ids and times, differ between failures with the same cause.
_VARIABLE = re.compile(r"\S*\d\S*")
# Every task needs credentials, so the event must not depend on the task that fails first.
_CREDENTIALS_EVENT = "credentials.not_renewed"


@dataclass(slots=True)
class Outage:
    """One cause, the tasks that it stops, and what the log says about it. Times are seconds of the clock."""

    event: str
    error: str
    since: float
    last: float  # when a task last failed, or when the last failing task succeeded
    log_at: float  # when the next line is due
    interval: float = FIRST_INTERVAL
    failures: int = 0
    failing: set[Hashable] = field(default_factory=set)  # tasks that fail now
    affected: set[Hashable] = field(default_factory=set)  # all tasks that failed
    logged: bool = False  # a line says that it began, and none that it ended


class Outages:
    """Log the failures of one process, grouped by cause. Safe for threads. `clock` returns seconds."""

    def __init__(self, log: Any, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._outages: dict[Hashable, Outage] = {}
        self._causes: dict[Hashable, set[Hashable]] = {}  # by failing task

    def failed(self, event: str, task: Hashable, error: Exception, level: str = "warning", **fields: object) -> None:
        """Note that `task` failed, and log a line with `fields` when one is due for the cause."""
        now, cause = self._clock(), cause_of(error)
        if _is_credentials(cause):
            fields = fields if event == _CREDENTIALS_EVENT else {}  # a shard's retry says nothing about credentials
            event, level = _CREDENTIALS_EVENT, "warning"
        with self._lock:
            outage = self._outages.get(cause)
            if outage is None or (not outage.failing and now - outage.last > QUIET):
                self._drop_ended(now)
                outage = self._outages[cause] = Outage(event, text_of(error), now, now, now)
            elif not outage.failing and not outage.logged:
                outage.since = now
            repeated = outage.logged or outage.failures > 0
            outage.failures += 1
            outage.last = now
            outage.failing.add(task)
            outage.affected.add(task)
            self._causes.setdefault(task, set()).add(cause)
            if now < outage.log_at:
                return
            outage.log_at, outage.interval = now + outage.interval, min(2 * outage.interval, MAX_INTERVAL)
            outage.logged = True
            if repeated:
                fields |= {"failures": outage.failures, "failing": len(outage.failing), "since": _ago(now, outage)}
        getattr(self._log, level)(event, error=text_of(error), **fields, **_location(error))

    def _drop_ended(self, now: float) -> None:
        """Drop the causes that ended more than `QUIET` seconds ago, to bound memory."""
        kept = {cause: one for cause, one in self._outages.items() if one.failing or now - one.last <= QUIET}
        self._outages = kept

    def worked(self, task: Hashable) -> None:
        """Note that `task` succeeded. Takes no lock unless it failed before."""
        if task in self._causes:
            self._remove(task, succeeded=True)

    def forget(self, task: Hashable) -> None:
        """Remove a task that no longer runs. This ends no outage, because it did not succeed."""
        if task in self._causes:
            self._remove(task, succeeded=False)

    def _remove(self, task: Hashable, succeeded: bool) -> None:
        now, ended = self._clock(), []
        with self._lock:
            for cause in self._causes.pop(task, ()):
                outage = self._outages[cause]
                outage.failing.discard(task)
                if not outage.failing and succeeded:
                    outage.last = now
                    if outage.logged:
                        ended.append(self._end(outage, now))
        for event, fields in ended:
            self._log.info(event, **fields)

    def _end(self, outage: Outage, now: float) -> tuple[str, dict[str, object]]:
        """Return the event and the fields of the last line, and reset the counts."""
        fields = {
            "note": f"resumed after {_ago(now, outage):g} s",
            "error": outage.error,
            "failures": outage.failures,
            "affected": len(outage.affected),
        }
        outage.logged, outage.failures, outage.affected = False, 0, set()
        return f"{outage.event.partition('.')[0]}.resumed", fields


def _ago(now: float, outage: Outage) -> float:
    return round(now - outage.since, 1)


def cause_of(error: Exception) -> Hashable:
    """Return a value that is equal for all failures with the same cause.

    Use `error.cause` if the adapter sets it, else the kind of dependency with its error code. Without a code, use the
    last part of the text, because the parts before it name the call and differ.
    """
    if not isinstance(error, ConsumerError):
        return type(error), where(error)
    if error.cause is not None:
        return error.cause
    kinds = type(error).__mro__
    dependency = next((kind for kind in kinds if Retryable in kind.__bases__), kinds[0])
    return dependency, error.code or _VARIABLE.sub("#", str(error).rpartition(": ")[2])


def _is_credentials(cause: Hashable) -> bool:
    return isinstance(cause, tuple) and cause[0] in ("credentials", CredentialsUnavailable)


def text_of(error: Exception) -> str:
    """Return the text of one of our own errors, else only the type: the text may contain a value of an event."""
    return str(error) if isinstance(error, ConsumerError) else type(error).__name__


def _location(error: Exception) -> dict[str, str]:
    return {} if isinstance(error, ConsumerError) else {"where": where(error)}
