"""Failures that repeat: one line per cause, again at growing intervals with a count, and one line when they are over.

A cause is what the failing party says, wherever it is met: when a lease table throttles, then renewals, scans and the
checkpoints of hundreds of shards fail, and that is one thing to tell.
"""

import re
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from consumer.errors import ConsumerError, Retryable, where

# Seconds from the first line to the second; each further wait is twice the last, up to the most.
FIRST_INTERVAL = 60.0
MOST_INTERVAL = 3600.0
# A cause that comes back within so many seconds is the same outage: what comes and goes thins out, too.
QUIET = 60.0
# Words with a digit in them, such as names of shards and times, differ from one failure to the next.
_VARIABLE = re.compile(r"\S*\d\S*")


@dataclass(slots=True)
class Outage:
    """One cause: who fails now, and what was told of it."""

    event: str
    error: str
    since: float
    last: float
    tell_at: float
    interval: float = FIRST_INTERVAL
    failures: int = 0
    failing: set[Hashable] = field(default_factory=set)
    affected: set[Hashable] = field(default_factory=set)
    told: bool = False  # a line was written that still wants its end


class Outages:
    """Tells failures of one process. `clock`: the engine's, in seconds."""

    def __init__(self, log: Any, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._outages: dict[Hashable, Outage] = {}
        self._causes: dict[Hashable, set[Hashable]] = {}  # by who fails

    def failed(self, event: str, who: Hashable, error: Exception, level: str = "warning", **fields: object) -> None:
        """Note that `who` failed, and tell it if it is time. `fields` go into the line."""
        now, cause = self._clock(), cause_of(error)
        with self._lock:
            outage = self._outages.get(cause)
            if outage is None or (not outage.failing and now - outage.last > QUIET):
                outage = self._outages[cause] = Outage(event, text_of(error), now, now, now)
            elif not outage.failing and not outage.told:
                outage.since = now
            again = outage.told or outage.failures > 0
            outage.failures += 1
            outage.last = now
            outage.failing.add(who)
            outage.affected.add(who)
            self._causes.setdefault(who, set()).add(cause)
            if now < outage.tell_at:
                return
            outage.tell_at, outage.interval = now + outage.interval, min(2 * outage.interval, MOST_INTERVAL)
            outage.told = True
            if again:
                fields |= {"failures": outage.failures, "failing": len(outage.failing), "since": _ago(now, outage)}
        getattr(self._log, level)(event, error=text_of(error), **fields, **_place(error))

    def worked(self, who: Hashable) -> None:
        """Note that `who` succeeded; costs nothing if it did not fail before."""
        if who in self._causes:
            self._leave(who, over=True)

    def forget(self, who: Hashable) -> None:
        """Note that `who` is no more: it neither fails nor works."""
        if who in self._causes:
            self._leave(who, over=False)

    def _leave(self, who: Hashable, over: bool) -> None:
        now, ended = self._clock(), []
        with self._lock:
            for cause in self._causes.pop(who, ()):
                outage = self._outages[cause]
                outage.failing.discard(who)
                if not outage.failing and over:
                    outage.last = now
                    if outage.told:
                        ended.append(self._end(outage, now))
        for event, fields in ended:
            self._log.info(event, **fields)

    def _end(self, outage: Outage, now: float) -> tuple[str, dict[str, object]]:
        """The line that tells the end of an outage."""
        fields = {
            "note": f"resumed after {_ago(now, outage):g} s",
            "error": outage.error,
            "failures": outage.failures,
            "affected": len(outage.affected),
        }
        outage.told, outage.failures, outage.affected = False, 0, set()
        return f"{outage.event.partition('.')[0]}.resumed", fields


def _ago(now: float, outage: Outage) -> float:
    return round(now - outage.since, 1)


def cause_of(error: Exception) -> Hashable:
    """Return what is the same for all that fail for one reason: what the adapter says that it is, or party and code.

    Without a code it is what the party says last.

    What was asked of the party stands before that, and differs.
    """
    if not isinstance(error, ConsumerError):
        return type(error), where(error)
    if error.cause is not None:
        return error.cause
    kinds = type(error).__mro__
    party = next((kind for kind in kinds if Retryable in kind.__bases__), kinds[0])
    return party, error.code or _VARIABLE.sub("#", str(error).rpartition(": ")[2])


def text_of(error: Exception) -> str:
    """Return what may be shown of an error: only the texts of our own carry no value of an event."""
    return str(error) if isinstance(error, ConsumerError) else type(error).__name__


def _place(error: Exception) -> dict[str, str]:
    return {} if isinstance(error, ConsumerError) else {"where": where(error)}
