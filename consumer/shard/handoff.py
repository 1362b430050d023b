"""Keep what was asked of the consumer of one shard: to whom it hands the lease, and until when it may deliver."""

from dataclasses import dataclass

from consumer.leases import NextOwner
from consumer.telemetry.metrics import LeaseEvent

# The longest wait in seconds before a retry while the worker drains, because the time until its deadline is short.
MOST_WAIT = 0.5


@dataclass
class HandoffRequest:
    """A request to leave a shard. `delivers`: what is buffered is written first. `until`: by the worker's clock."""

    asked: bool = False
    next_owner: NextOwner | None = None
    until: float = float("inf")
    delivers: bool = True
    reason: str = ""

    def ask(self, next_owner: NextOwner | None, until: float) -> None:
        """Request a handoff to `next_owner`, or a release for None. A repeated request never extends `until`."""
        self.next_owner, self.until = next_owner, min(self.until, until)
        self.asked = True

    def discard(self, reason: str) -> None:
        """Request a release at once, without a delivery, for `reason`."""
        self.next_owner, self.delivers = None, False
        self.reason = self.reason or reason
        self.asked = True

    def too_late(self, now: float) -> bool:
        """Return whether what is undelivered must be left to the next owner."""
        return self.asked and (not self.delivers or now >= self.until)

    def shortened(self, wait: float) -> float:
        """Return the wait before a retry in seconds, shortened while the worker drains."""
        return min(wait, MOST_WAIT) if self.asked else wait

    @property
    def event(self) -> LeaseEvent:
        """Return the event to count for the lease."""
        if self.next_owner is None:
            return LeaseEvent.RELEASED
        return LeaseEvent.OFFERED if self.next_owner.ours else LeaseEvent.ASSIGNED
