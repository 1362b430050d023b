"""Take leases, and start to read their shards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from consumer.fleet.initial_position import LATEST_MARGIN
from consumer.fleet.running_shards import RunningShards
from consumer.fleet.table_view import TableView
from consumer.leases import Change, Lease, WorkerIdentity
from consumer.leases.lease import taken
from consumer.records import PositionKind
from consumer.runtime.clock import Clock
from consumer.telemetry.metrics import LeaseEvent, Metrics

# Leases taken in one call. Reading starts when the call returns, so a larger number would delay the first shards.
TAKEN_AT_ONCE = 16


@dataclass
class LeaseTaker:
    """Take leases by compare and swap. `dead_owners`: workers whose expired leases were taken."""

    me: WorkerIdentity
    view: TableView
    running_shards: RunningShards
    stream_created_at: datetime | None
    clock: Clock
    server_time: Callable[[], datetime]
    metrics: Metrics
    log: Any
    dead_owners: set[str] = field(default_factory=set)

    def take(self, rows: Sequence[Lease]) -> None:
        """Take leases unless another worker was faster, and start at the checkpoint of the row that was returned."""
        for first in range(0, len(rows), TAKEN_AT_ONCE):
            with self.running_shards.taking:
                if self.running_shards.draining:
                    return
                self._take_some(rows[first : first + TAKEN_AT_ONCE])

    def _take_some(self, rows: Sequence[Lease]) -> None:
        sent = self.clock()
        changes = [Change(row, self._taken(row)) for row in rows]
        for change, written in zip(changes, self.view.write(changes), strict=True):
            if written.done and written.row is not None:
                if self.view.liveness.expired(change.before, sent):
                    self.dead_owners.add(str(change.before.owner))
                self._begin(written.row, change.before.owner, sent)

    def _taken(self, row: Lease) -> Lease:
        """Return the row as ours, with the fields that a KCL does not write.

        LATEST means "from now on" to a KCL each time that it opens the shard. Here the row gets an instant, so that a
        crash before the first checkpoint skips no record.
        """
        mine = taken(row, self.me)
        if row.stream_created_at is None:
            mine = replace(mine, stream_created_at=self.stream_created_at)
        if row.checkpoint.kind is PositionKind.LATEST and row.started_at is None:
            mine = replace(mine, started_at=self.server_time() - LATEST_MARGIN)
        return mine

    def _begin(self, row: Lease, previous_owner: str | None, sent: float) -> None:
        self.running_shards.read(row, sent)
        accepted = previous_owner == self.me.worker_id
        self.metrics.lease_changed(LeaseEvent.ACCEPTED if accepted else LeaseEvent.TAKEN)
        self.log.info("lease.taken", shard=row.shard_id, position=str(row.start), owner=previous_owner)

    def want(self, row: Lease) -> None:
        """Ask the owner for a lease."""
        self.view.want(row)
        self.metrics.lease_changed(LeaseEvent.WANTED)
        self.log.info("lease.wanted", shard=row.shard_id, owner=row.owner)
