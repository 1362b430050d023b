"""What keeps one shard from going on: how long it waits before it tries again, and what is told about it."""

from typing import Any

from consumer.errors import LeaseStale, Retryable, Throttled, where
from consumer.runtime.backoff import Backoff
from consumer.shard.context import ShardContext
from consumer.shard.handoff import HandoffRequest


class ShardFailures:
    """The failures of one shard since something last worked. `text`: the last of them, for people; may be empty."""

    def __init__(self, context: ShardContext, leaving: HandoffRequest, shard_id: str, log: Any) -> None:
        polling = context.polling
        self._context, self._handoff, self._log = context, leaving, log
        self._shard_id = shard_id
        # Reads may work while deliveries fail, and then only the former have resumed.
        self._reads, self._deliveries = (shard_id, "reads"), (shard_id, "deliveries")
        self._backoff = Backoff(polling.first_backoff, polling.most_backoff, context.rng)
        # Apart from the other: after a defect the shard is read again without trouble up to the same record.
        self._after_defects = Backoff(polling.first_backoff, polling.most_after_defects, context.rng)
        self._text, self._defect = "", ""

    @property
    def text(self) -> str:
        """What stands in the way now."""
        return self._defect or self._text

    def waits(self, error: Retryable, delivers: bool) -> float:
        """Take in a failure that may pass, of a delivery or of something else; returns the seconds to wait."""
        self._text = str(error)
        if isinstance(error, Throttled):
            self._context.metrics.throttle()
        delay = self._handoff.wait(error.retry_after or self._backoff.next())
        if error.retry_after is None and not isinstance(error, LeaseStale):
            level = "info" if isinstance(error, Throttled) else "warning"
            self._tell("shard.waiting", self._deliveries if delivers else self._reads, error, level, delay)
        return delay

    def halted(self, error: Exception) -> float:
        """Take in a defect; returns the seconds to wait. The text of the error may carry a value of an event."""
        delay = self._handoff.wait(self._after_defects.next())
        self._defect = f"halted by {type(error).__name__} at {where(error)}"
        self._tell("shard.halted", self._deliveries, error, "error", delay)
        return delay

    def _tell(self, event: str, who: tuple[str, str], error: Exception, level: str, delay: float) -> None:
        """One line for all shards that fail for the same cause."""
        self._context.outages.failed(event, who, error, level, shard=self._shard_id, retry_in=round(delay, 2))

    def expired(self) -> float:
        """Take in an iterator that has expired; a second one in a row has to wait."""
        self._log.info("iterator.expired")
        again = self._backoff.failures > 0
        wait = self._backoff.next()
        return wait if again else 0.0

    def handoff_requested(self) -> None:
        """The waits are short from now on."""
        self._backoff.reset()

    def has_read(self) -> None:
        """A read was answered."""
        self._backoff.reset()
        self._text = ""
        self._context.outages.worked(self._reads)

    def has_delivered(self) -> None:
        """A batch was delivered and its checkpoint moved."""
        self.has_read()
        self._after_defects.reset()
        self._defect = ""
        self._context.outages.worked(self._deliveries)

    def forget(self) -> None:
        """The shard is not read here any more, whether it works or not."""
        self._context.outages.forget(self._reads)
        self._context.outages.forget(self._deliveries)
