"""Keep track of leases that are coming to this worker, and read their rows often.

The old owner stops reading before it offers the lease, so the time until the offer is accepted is a gap in reading.
"""

from collections.abc import Collection, Iterable, Sequence

from consumer.leases import Change, Lease, WorkerIdentity
from consumer.leases.lease import handed_off, withdrawn

# Seconds between two reads of these rows in a small fleet.
REFRESH_INTERVAL = 0.1
# Rows per read: a worker that starts asks for many leases at once, and each row costs a DynamoDB read unit.
MOST_REFRESHED = 16


class IncomingOffers:
    """The leases that this worker has requested, or that were offered to it, during the last `patience` seconds."""

    def __init__(self, me: WorkerIdentity, patience: float) -> None:
        self._me, self._patience = me, patience
        self._since: dict[str, float] = {}

    def observe(self, rows: Iterable[Lease], running: Collection[str], now: float) -> None:
        """Note which of these rows are coming to this worker. `running`: the shards that it reads already."""
        self._since = {
            row.shard_id: self._since.get(row.shard_id, now)
            for row in rows
            if self.concerns(row) and row.shard_id not in running
        }

    def concerns(self, row: Lease) -> bool:
        """Return whether this worker has requested the lease, or was offered it."""
        return not row.ended and self._me.worker_id in (row.wanted_by, row.owner)

    def declines(self, rows: Sequence[Lease]) -> list[Change]:
        """Return the changes that release all offers to this worker and withdraw its requests.

        Rows that another process with our worker id holds stay: it may be alive, and this process may be the one that
        has to end.
        """
        offered = [row for row in rows if row.waits_for(self._me) and not row.held_by_duplicate(self._me)]
        releases = [Change(row, handed_off(row, self._me, None)) for row in offered]
        requested = [row for row in rows if self.concerns(row) and row.owner != self._me.worker_id]
        return releases + [Change(row, withdrawn(row)) for row in requested]

    def expected(self, now: float) -> list[str]:
        """Return the shards whose rows should be read often, the latest first, at most `MOST_REFRESHED`."""
        fresh = [shard_id for shard_id, since in self._since.items() if now - since < self._patience]
        return sorted(fresh, key=lambda shard_id: -self._since[shard_id])[:MOST_REFRESHED]
