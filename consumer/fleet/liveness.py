"""What one worker has seen of the lease rows, on its own clock: wall clocks of hosts are never compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumer.leases import Lease

LONGEST_GAP = 0.4
SILENCE = 0.35  # more than the third of a lease between two renewals, less than a glance


@dataclass(slots=True)
class Observation:
    """A row's state as it was seen last: since when it stands so, and since when it has this owner.

    Changed in place: a worker looks at thousands of rows that mostly stand as they did.
    """

    counter: int
    owner: str | None
    since: float
    owned_since: float
    looked_at: float


@dataclass
class Liveness:
    """Tells the living from the dead: an owner whose counter stands still for longer than a lease lasts is dead.

    Gaps between scans count for at most `LONGEST_GAP` of a lease, so our own pause never makes a peer look dead.
    After an outage of the table, the owners may not have had the chance to renew.
    """

    duration: float
    _seen: dict[str, Observation] = field(default_factory=dict)
    _free: dict[str, float] = field(default_factory=dict)

    def observe(self, rows: Sequence[Lease], now: float) -> None:
        """Take in a scan: rows that are not in it are gone."""
        self._seen = {row.shard_id: self._observation(row, now) for row in rows}

    def refresh(self, rows: Sequence[Lease], now: float) -> None:
        """Take in a few rows that were looked at on their own."""
        self._seen.update({row.shard_id: self._observation(row, now) for row in rows})

    def _observation(self, row: Lease, now: float) -> Observation:
        seen = self._seen.get(row.shard_id)
        if seen is None:
            return Observation(row.counter, row.owner, now, now, now)
        if seen.owner != row.owner:
            seen.owner, seen.counter, seen.since, seen.owned_since = row.owner, row.counter, now, now
        elif seen.counter != row.counter:
            seen.counter, seen.since = row.counter, now
        else:
            seen.since += max(0.0, now - seen.looked_at - LONGEST_GAP * self.duration)
        seen.looked_at = now
        return seen

    def still_for(self, row: Lease, now: float) -> float:
        """Seconds for which the row has not moved."""
        seen = self._seen.get(row.shard_id)
        return now - seen.since if seen else 0.0

    def owned_for(self, row: Lease, now: float) -> float:
        """Seconds for which the row has had its owner."""
        seen = self._seen.get(row.shard_id)
        return now - seen.owned_since if seen else 0.0

    def expired(self, row: Lease, now: float) -> bool:
        """Its owner is dead."""
        seen = self._seen.get(row.shard_id)
        return seen is not None and row.owner is not None and now - seen.since > self.duration

    def silent(self, row: Lease, now: float) -> bool:
        """It was seen to stand still for longer than renewals are apart: worth a closer look than scans give."""
        seen = self._seen.get(row.shard_id)
        still = seen is not None and seen.looked_at - seen.since > SILENCE * self.duration
        return still and row.owner is not None and not row.ended

    def free_for(self, free: Sequence[Lease], now: float) -> dict[str, float]:
        """Seconds for which each of these has been free for the taking."""
        self._free = {row.shard_id: self._free.get(row.shard_id, now) for row in free}
        return {shard_id: now - since for shard_id, since in self._free.items()}
