"""Leases on their way to this worker: looked at often, so that a shard which moves is soon read again."""

from collections.abc import Collection, Iterable, Sequence

from consumer.leases import Change, Lease, WorkerIdentity
from consumer.leases.lease import handed_on, withdrawn

# Seconds between two looks at what is on its way, in a small fleet. The old owner has stopped reading by the time that
# it offers, so what passes until the offer is seen is a gap.
REFRESH_INTERVAL = 0.1
# So many rows are looked at together: one is a DynamoDB read unit, and a fleet that starts wishes for many at once.
MOST_REFRESHED = 16


class IncomingOffers:
    """What was asked for or promised, and what is offered; for a lease's length, since an owner may be long busy."""

    def __init__(self, me: WorkerIdentity, patience: float) -> None:
        self._me, self._patience = me, patience
        self._since: dict[str, float] = {}

    def observe(self, rows: Iterable[Lease], running: Collection[str], now: float) -> None:
        """Take in what is known of the rows."""
        self._since = {
            row.shard_id: self._since.get(row.shard_id, now)
            for row in rows
            if self.concerns(row) and row.shard_id not in running
        }

    def concerns(self, row: Lease) -> bool:
        """Is it on its way to us?"""
        return not row.ended and self._me.worker_id in (row.wanted_by, row.owner)

    def declines(self, rows: Sequence[Lease]) -> list[Change]:
        """What a worker that leaves writes on the rows it does not read: it takes no offer, and wishes for nothing.

        What another process under our id holds is its own: it may be alive, and we the ones who gave way to it.
        """
        offered = [row for row in rows if row.waits_for(self._me) and not row.held_by_duplicate(self._me)]
        offers = [Change(row, handed_on(row, self._me, None)) for row in offered]
        wishes = [row for row in rows if self.concerns(row) and row.owner != self._me.worker_id]
        return offers + [Change(row, withdrawn(row)) for row in wishes]

    def expected(self, now: float) -> list[str]:
        """The shards worth another look soon, the latest first."""
        fresh = [shard_id for shard_id, since in self._since.items() if now - since < self._patience]
        return sorted(fresh, key=lambda shard_id: -self._since[shard_id])[:MOST_REFRESHED]
