"""How the reader of one shard is to leave it: in favour of whom, and until when it tries to deliver what it has."""

from dataclasses import dataclass

from consumer.leases import NextOwner
from consumer.telemetry.metrics import LeaseEvent

# A delivery that failed is tried again after so many seconds at the latest: the time is short.
MOST_BACKOFF = 0.5


@dataclass
class HandoffRequest:
    """What was asked of a shard's consumer. `delivers`: it has to write what it holds before it leaves."""

    asked: bool = False
    next_owner: NextOwner | None = None
    until: float = float("inf")
    delivers: bool = True
    reason: str = ""

    def ask(self, next_owner: NextOwner | None, until: float) -> None:
        """Leave in favour of `next_owner`. An earlier request may only become more urgent; `until` never moves back."""
        self.next_owner, self.until = next_owner, min(self.until, until)
        self.asked = True

    def discard(self, reason: str) -> None:
        """Release the lease at once, for `reason`."""
        self.next_owner, self.delivers = None, False
        self.reason = self.reason or reason
        self.asked = True

    def too_late(self, now: float) -> bool:
        """Is what is not delivered left to the next owner?"""
        return self.asked and (not self.delivers or now >= self.until)

    def wait(self, delay: float) -> float:
        """The wait before another try."""
        return min(delay, MOST_BACKOFF) if self.asked else delay

    @property
    def event(self) -> LeaseEvent:
        """What becomes of the lease."""
        if self.next_owner is None:
            return LeaseEvent.RELEASED
        return LeaseEvent.OFFERED if self.next_owner.ours else LeaseEvent.ASSIGNED
