"""Observe which lease owners are alive, on this worker's own clock. Wall clocks of two hosts are never compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumer.fleet.lease_timings import LeaseTimings
from consumer.leases import Lease


@dataclass(slots=True)
class Observation:
    """A row as it was last seen. Times are seconds of this worker's clock.

    `since`: when its counter last moved. `owned_since`: when its owner last changed. `looked_at`: when it was read.
    Changed in place, because a worker sees thousands of rows that are mostly unchanged.
    """

    counter: int
    owner: str | None
    since: float
    owned_since: float
    looked_at: float


@dataclass
class Liveness:
    """Judge owners: a lease has expired when its counter has not moved for longer than the lease duration.

    Gaps between scans count for at most `longest_gap`, so our own pause never makes a peer look dead. After an outage
    of the table, the owners may have had no chance to renew.
    """

    timings: LeaseTimings
    _seen: dict[str, Observation] = field(default_factory=dict)
    _free: dict[str, float] = field(default_factory=dict)

    def observe(self, rows: Sequence[Lease], now: float) -> None:
        """Note all rows of a scan, and forget rows that it lacks."""
        self._seen = {row.shard_id: self._observation(row, now) for row in rows}

    def refresh(self, rows: Sequence[Lease], now: float) -> None:
        """Note single rows that were read between scans."""
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
            seen.since += max(0.0, now - seen.looked_at - self.timings.longest_gap)
        seen.looked_at = now
        return seen

    def still_for(self, row: Lease, now: float) -> float:
        """Return the seconds for which the row's counter has not moved."""
        seen = self._seen.get(row.shard_id)
        return now - seen.since if seen else 0.0

    def owned_for(self, row: Lease, now: float) -> float:
        """Return the seconds for which the row has had its owner."""
        seen = self._seen.get(row.shard_id)
        return now - seen.owned_since if seen else 0.0

    def expired(self, row: Lease, now: float) -> bool:
        """Return whether the row has an owner whose lease has expired."""
        seen = self._seen.get(row.shard_id)
        return seen is not None and row.owner is not None and now - seen.since > self.timings.lease_duration

    def silent(self, row: Lease, now: float) -> bool:
        """Return whether the owner may be dead, because it has missed a renewal. Such a row is read between scans."""
        seen = self._seen.get(row.shard_id)
        still = seen is not None and seen.looked_at - seen.since > self.timings.silence
        return still and row.owner is not None and not row.ended

    def free_for(self, free: Sequence[Lease], now: float) -> dict[str, float]:
        """Return the seconds for which each of these rows has been free, by shard id. Call it with all free rows."""
        self._free = {row.shard_id: self._free.get(row.shard_id, now) for row in free}
        return {shard_id: now - since for shard_id, since in self._free.items()}
