"""Decide when a shard that failed is tried again, and log its failures."""

from typing import Any

from consumer.errors import LeaseStale, Retryable, Throttled, where
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.shard.context import ShardContext
from consumer.shard.handoff import HandoffRequest

# Once stream, lease table or sink work again, a shard resumes within `most` seconds. About 16 retries per minute and
# shard are cheap for any of them.
TEMPORARY = RetryPolicy(first=0.2, most=5.0)
# An unforeseen error seldom disappears without a new release. Each try reads and decodes the batch again.
UNFORESEEN = RetryPolicy(first=0.2, most=30.0)


class ShardFailures:
    """The failures of one shard since its last success."""

    def __init__(self, context: ShardContext, handoff: HandoffRequest, shard_id: str, log: Any) -> None:
        self._context, self._handoff, self._log = context, handoff, log
        self._shard_id = shard_id
        # Reads may work while deliveries fail, and then only reads have resumed.
        self._reads, self._deliveries = (shard_id, "reads"), (shard_id, "deliveries")
        self._temporary = Backoff(TEMPORARY, context.rng)
        # Reads up to the record that causes an unforeseen error succeed; they must not reset its backoff.
        self._unforeseen = Backoff(UNFORESEEN, context.rng)
        self._last, self._halted = "", ""

    @property
    def text(self) -> str:
        """Return the last failure as text for operators, or "" after a success."""
        return self._halted or self._last

    def temporary(self, error: Retryable, delivering: bool) -> float:
        """Note a temporary failure of a delivery or a read; return the seconds until the retry."""
        self._last = str(error)
        if isinstance(error, Throttled):
            self._context.metrics.read_throttled()
        wait = self._handoff.shortened(error.retry_after or self._temporary.next())
        if error.retry_after is None and not isinstance(error, LeaseStale):
            level = "info" if isinstance(error, Throttled) else "warning"
            self._tell("shard.waiting", self._deliveries if delivering else self._reads, error, level, wait)
        return wait

    def unforeseen(self, error: Exception) -> float:
        """Note an unforeseen error; return the seconds until the retry.

        Only its type and place are logged, because its text may contain a value of an event.
        """
        wait = self._handoff.shortened(self._unforeseen.next())
        self._halted = f"halted by {type(error).__name__} at {where(error)}"
        self._tell("shard.halted", self._deliveries, error, "error", wait)
        return wait

    def _tell(self, event: str, task: tuple[str, str], error: Exception, level: str, wait: float) -> None:
        """Log one line for all shards that fail for the same cause."""
        self._context.outages.failed(event, task, error, level, shard=self._shard_id, retry_in=round(wait, 2))

    def iterator_expired(self) -> float:
        """Note an expired iterator; return the seconds until the retry: 0 for the first in a row."""
        self._log.info("iterator.expired")
        repeated = self._temporary.failures > 0
        wait = self._temporary.next()
        return wait if repeated else 0.0

    def handoff_requested(self) -> None:
        """Start again with short waits, because the deadline of the drain is near."""
        self._temporary.reset()

    def read_worked(self) -> None:
        """Note a read that succeeded."""
        self._temporary.reset()
        self._last = ""
        self._context.outages.worked(self._reads)

    def delivery_worked(self) -> None:
        """Note a delivery whose checkpoint was stored."""
        self.read_worked()
        self._unforeseen.reset()
        self._halted = ""
        self._context.outages.worked(self._deliveries)

    def forget(self) -> None:
        """Drop the failures, because this worker no longer reads the shard."""
        self._context.outages.forget(self._reads)
        self._context.outages.forget(self._deliveries)
