"""Keep what this worker last saw of the lease table: its rows, and which owners are alive."""

from collections.abc import Sequence
from dataclasses import replace

from consumer.fleet.assignment import Peer, peers_of
from consumer.fleet.lineage import runnable
from consumer.fleet.liveness import Liveness
from consumer.fleet.scan_interval import scan_interval
from consumer.leases import Change, Lease, LeaseTable, WorkerIdentity, Written


class TableView:
    """The rows of the last scan, and single rows that were read or written since."""

    def __init__(self, table: LeaseTable, me: WorkerIdentity, liveness: Liveness) -> None:
        self._table, self._me, self.liveness = table, me, liveness
        self._timings = liveness.timings
        self._rows: dict[str, Lease] = {}
        self._unreadable = 0
        self._scan_at = float("-inf")
        self.scan_interval = self._timings.balance_interval  # seconds

    @property
    def rows(self) -> list[Lease]:
        """Return all rows, except those that wait for a parent whose row is damaged."""
        return list(self._rows.values())

    def row(self, shard_id: str) -> Lease | None:
        """Return the row of a shard, or None if there is none."""
        return self._rows.get(shard_id)

    def runnable(self) -> list[Lease]:
        """Return the rows whose shards may be read now."""
        return runnable(self.rows)

    def scan_due(self, now: float) -> bool:
        """Return whether the next look at the table should be a scan."""
        return now >= self._scan_at

    def scan(self, now: float) -> None:
        """Replace all rows, and decide when to scan next."""
        rows = list(self._table.scan())
        unreadable = self._table.unreadable().keys()  # whether these have ended is unknown, so their children wait
        self._unreadable = len(unreadable)
        self._rows = {row.shard_id: row for row in rows if unreadable.isdisjoint(row.parents)}
        self.liveness.observe(rows, now)
        workers = 1 + len(peers_of(runnable(rows), self.liveness, self._me, now))
        self.scan_interval = scan_interval(self._timings, rows, workers)
        self._scan_at = now + self.scan_interval - self._timings.jitter

    def read(self, shard_ids: Sequence[str], now: float) -> list[Lease]:
        """Read single rows, and return them."""
        rows = list(self._table.read(shard_ids))
        self._rows |= {row.shard_id: row for row in rows}
        self.liveness.refresh(rows, now)
        return rows

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        """Write changes, take over the rows that result, and return the results."""
        results = self._table.write(changes) if changes else ()
        self._rows |= {written.row.shard_id: written.row for written in results if written.row is not None}
        return results

    def want(self, row: Lease) -> None:
        """Ask the owner of a row for its lease."""
        self._table.want(row, self._me.worker_id)
        self._rows[row.shard_id] = replace(row, wanted_by=self._me.worker_id)

    def peers(self, now: float) -> dict[str, Peer]:
        """Return the other live workers by id."""
        return peers_of(self.runnable(), self.liveness, self._me, now)

    def count_shards(self, now: float) -> tuple[int, int]:
        """Return how many shards should be read, and how many of these other live workers read."""
        rows = self.runnable()
        ours = {self._me.worker_id, None}
        elsewhere = sum(row.owner not in ours and not self.liveness.expired(row, now) for row in rows)
        return len(rows) + self._unreadable, elsewhere
