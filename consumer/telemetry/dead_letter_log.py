"""Tells of dead letters: the first of each reason at once, the others once a minute with a count and a location."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consumer.records import DeadLetter, EventLocation, Reason

# Seconds between two lines about one reason.
INTERVAL = 60.0


@dataclass(slots=True)
class _Waiting:
    """The dead letters of one reason since the last line, and where the first of them is."""

    told_at: float
    letters: int = 0
    location: EventLocation | None = None
    message: str = ""


class DeadLetterLog:
    """A task that tells once a minute; `clock` in seconds. Letters that are made again by a retry count again."""

    def __init__(self, log: Any, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._waiting: dict[Reason, _Waiting] = {}

    def note(self, letter: DeadLetter) -> None:
        """Take in a dead letter; tell it if there was none of its reason for a minute."""
        now = self._clock()
        with self._lock:
            waiting = self._waiting.setdefault(letter.reason, _Waiting(now - INTERVAL))
            if not waiting.letters:
                waiting.location, waiting.message = letter.location, letter.message
            waiting.letters += 1
            due = now - waiting.told_at >= INTERVAL
        if due:
            self._tell(letter.reason, now)

    def step(self, now: float) -> float:
        """Tell what has gathered for a minute."""
        for reason, waiting in list(self._waiting.items()):
            if now - waiting.told_at >= INTERVAL:
                self._tell(reason, now)
        return INTERVAL / 4

    def tell(self) -> None:
        """Tell everything that was not told yet; call it at the end."""
        for reason in list(self._waiting):
            self._tell(reason, self._clock())

    def _tell(self, reason: Reason, now: float) -> None:
        with self._lock:
            waiting = self._waiting[reason]
            letters, location, message = waiting.letters, waiting.location, waiting.message
            if not letters or location is None:
                return
            waiting.letters, waiting.told_at = 0, now
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
