"""What keeps one shard from going on: how long it waits before it tries again, and what is told about it."""

from typing import Any

from consumer.engine.backoff import Backoff
from consumer.engine.leaving import Leaving
from consumer.engine.surroundings import Surroundings
from consumer.errors import LeaseStale, Retryable, Throttled, where


class Trouble:
    """The failures of one shard since something last worked. `text`: the last of them, for people; may be empty."""

    def __init__(self, world: Surroundings, leaving: Leaving, log: Any) -> None:
        pace = world.pace
        self._world, self._leaving, self._log = world, leaving, log
        self._backoff = Backoff(pace.first_backoff, pace.most_backoff, world.rng)
        # Apart from the other: after a defect the shard is read again without trouble up to the same record.
        self._after_defects = Backoff(pace.first_backoff, pace.most_after_defects, world.rng)
        self._text, self._defect = "", ""

    @property
    def text(self) -> str:
        """What stands in the way now."""
        return self._defect or self._text

    def waits(self, error: Retryable) -> float:
        """Take in a failure that may pass; returns the seconds to wait."""
        self._text = str(error)
        if isinstance(error, Throttled):
            self._world.metrics.throttle()
        delay = self._leaving.wait(error.retry_after or self._backoff.next())
        if error.retry_after is None and not isinstance(error, LeaseStale):
            level = self._log.info if isinstance(error, Throttled) else self._log.warning
            level("shard.waiting", error=str(error), retry_in=round(delay, 2))
        return delay

    def halted(self, error: Exception) -> float:
        """Take in a defect; returns the seconds to wait. The text of the error may carry a value of an event."""
        delay = self._leaving.wait(self._after_defects.next())
        self._defect = f"halted by {type(error).__name__} at {where(error)}"
        self._log.error("shard.halted", error=type(error).__name__, where=where(error), retry_in=round(delay, 1))
        return delay

    def expired(self) -> float:
        """Take in an iterator that has expired; a second one in a row has to wait."""
        self._log.info("iterator.expired")
        again = self._backoff.failures > 0
        wait = self._backoff.next()
        return wait if again else 0.0

    def begins_to_leave(self) -> None:
        """The waits are short from now on."""
        self._backoff.reset()

    def has_read(self) -> None:
        """A read was answered."""
        self._backoff.reset()
        self._text = ""

    def has_delivered(self) -> None:
        """A batch was delivered and its checkpoint moved."""
        self.has_read()
        self._after_defects.reset()
        self._defect = ""
