"""Log dead letters: at most one line per reason and minute, with a count and the location of the first one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consumer.records import DeadLetter, EventLocation, Reason

# Seconds between two lines for the same reason.
INTERVAL = 60.0


@dataclass(slots=True)
class _Unlogged:
    """The dead letters of one reason since its last line. `location` and `message` are those of the first one."""

    logged_at: float
    letters: int = 0
    location: EventLocation | None = None
    message: str = ""


class DeadLetterLog:
    """A task that logs dead letters. `clock` returns seconds. A dead letter that a retry makes again counts again."""

    def __init__(self, log: Any, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._unlogged: dict[Reason, _Unlogged] = {}

    def note(self, letter: DeadLetter) -> None:
        """Count a dead letter. Log it at once if the last line for its reason is a minute old."""
        now = self._clock()
        with self._lock:
            unlogged = self._unlogged.setdefault(letter.reason, _Unlogged(now - INTERVAL))
            if not unlogged.letters:
                unlogged.location, unlogged.message = letter.location, letter.message
            unlogged.letters += 1
            due = now - unlogged.logged_at >= INTERVAL
        if due:
            self._write(letter.reason, now)

    def step(self, now: float) -> float:
        """Log each reason whose last line is a minute old. Return the seconds until the next step."""
        for reason, unlogged in list(self._unlogged.items()):
            if now - unlogged.logged_at >= INTERVAL:
                self._write(reason, now)
        return INTERVAL / 4

    def flush(self) -> None:
        """Log all remaining dead letters. Call this when the process ends."""
        for reason in list(self._unlogged):
            self._write(reason, self._clock())

    def _write(self, reason: Reason, now: float) -> None:
        with self._lock:
            unlogged = self._unlogged[reason]
            letters, location, message = unlogged.letters, unlogged.location, unlogged.message
            if not letters or location is None:
                return
            unlogged.letters, unlogged.logged_at = 0, now
        self._log.warning(
            "dead_letters",
            reason=reason.value,
            letters=letters,
            message=message,
            shard=location.shard_id,
            sequence=str(location.sequence),
            sub_sequence=location.sub_sequence,
            index=location.event_index,
        )
