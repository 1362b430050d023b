"""Apply the policies to events that cannot become rows: dead letter, drop, or halt the shard before the record.

The breaker halts, too: when too large a share of recent events was rejected, the cause is probably not in the events.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from consumer.errors import RecordHalts
from consumer.records import DeadLetter, Decoded, Reason
from consumer.rejection_policy import KEEP, Policies, Policy
from consumer.runtime.clock import Clock, boottime

SHARE = "share"  # the reason of a halt by the breaker


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Halt when more than `share` of at least `minimum` events within `window` seconds were rejected; None: never."""

    share: float | None = None
    minimum: int = 100
    window: float = 60.0


@dataclass(slots=True)
class Breaker:
    """The events of one shard within the window."""

    limits: BreakerLimits
    clock: Clock
    _recent: deque[tuple[float, int, int]] = field(default_factory=deque)  # time, events, rejected ones
    _events: int = 0
    _rejected: int = 0

    def add(self, events: int, rejected: int) -> bool:
        """Count events; return whether too many are rejected."""
        now = self.clock()
        self._recent.append((now, events, rejected))
        self._events, self._rejected = self._events + events, self._rejected + rejected
        while self._recent[0][0] < now - self.limits.window:
            _, old, old_rejected = self._recent.popleft()
            self._events, self._rejected = self._events - old, self._rejected - old_rejected
        share = self.limits.share
        return share is not None and self._events >= self.limits.minimum and self._rejected > share * self._events

    def reset(self) -> None:
        """Forget all events."""
        self._recent.clear()
        self._events = self._rejected = 0


class Judge:
    """Decide about the rejected events of one shard.

    `spared` tells for a sequence number whether the record must not halt the shard: an operator skips it, or it belongs
    to a batch that is prepared already.
    """

    def __init__(
        self,
        policies: Policies = KEEP,
        limits: BreakerLimits | None = None,
        spared: Callable[[int], bool] = lambda _: False,
        clock: Clock = boottime,
    ) -> None:
        self._policies, self._spared = policies, spared
        self._usual = all(policy is Policy.DEAD_LETTER for policy in policies.values())
        self._breaker = Breaker(limits, clock) if limits is not None and limits.share is not None else None

    def pieces(self, pieces: Iterable[Decoded]) -> Iterable[Decoded]:
        """Return what is left of decoded records.

        Raises:
            RecordHalts: while the result is iterated.
        """
        if self._usual and self._breaker is None:
            return pieces
        return map(self._judged, pieces)

    def drops(self, reason: Reason, sequence: int) -> bool:
        """Return whether an event of this record is dropped instead of becoming a dead letter.

        Raises:
            RecordHalts: the shard must stop before the record.
        """
        policy = self._policies[reason]
        if policy is Policy.HALT and not self._spared(sequence):
            self.reset()
            raise RecordHalts(reason.value, sequence)
        return policy is Policy.DROP

    def reset(self) -> None:
        """Begin to count for the breaker again."""
        if self._breaker is not None:
            self._breaker.reset()

    def _judged(self, piece: Decoded) -> Decoded:
        letters = piece.dead_letters
        self._count(len(piece.block) + len(letters), letters)
        dropped = [self.drops(letter.reason, letter.location.sequence) for letter in letters]
        if not any(dropped):
            return piece
        return replace(
            piece,
            dead_letters=[letter for letter, drop in zip(letters, dropped, strict=True) if not drop],
            dropped=[letter.reason for letter, drop in zip(letters, dropped, strict=True) if drop],
        )

    def _count(self, events: int, letters: Iterable[DeadLetter]) -> None:
        if self._breaker is None:
            return
        rejected = [letter.location.sequence for letter in letters]
        if self._breaker.add(events, len(rejected)) and rejected and not self._spared(rejected[0]):
            self.reset()
            raise RecordHalts(SHARE, rejected[0])


def over(judge: Judge, decode: Callable[..., Iterable[Decoded]]) -> Callable[..., Iterable[Decoded]]:
    """Return `decode` with the decisions of `judge`."""
    return lambda *arguments: judge.pieces(decode(*arguments))
