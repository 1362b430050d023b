"""Provide a stream of several generations, and the lease rows of an application that has read it."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from consumer.checkpoints.checkpoints import Checkpoints
from consumer.checkpoints.editor import Editor
from consumer.checkpoints.owners import Owners
from consumer.checkpoints.plan import Plan
from consumer.checkpoints.targets import target_of
from consumer.leases import Change, EditableLeaseTable, Lease, WorkerIdentity
from consumer.leases.lease import renewed
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END, Position
from consumer.streams.memory import MemoryStream
from tests.unit.clocks import FakeClock

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ME = WorkerIdentity("checkpoints", "c1")


def at(minutes: float) -> datetime:
    """Return a time in minutes since noon."""
    return NOON + timedelta(minutes=minutes)


@dataclass
class World:
    """A stream that starts with two shards at noon. Each record's data is its minute."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON.timestamp()))
    table: EditableLeaseTable = field(default_factory=MemoryLeaseTable)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = MemoryStream("calls", 2, self.clock)

    @property
    def checkpoints(self) -> Checkpoints:
        """Return the operations, whose waits advance the clock."""
        owners = Owners(self.table, 10.0, self.told.append, self.clock, self.clock.advance)
        editor = Editor(self.table, ME, 10.0, self.clock, self.clock.advance)
        return Checkpoints("app", "calls", "memory:", lambda: self.stream, self.table, owners, editor, lambda: at(0))

    def put(self, shard_id: str, minutes: float) -> int:
        """Put a record on a shard at a time; return its sequence number."""
        self.clock.now = at(minutes).timestamp()
        return self.stream.put(b"{}", shard_id=shard_id)

    def row(
        self, shard_id: str, checkpoint: Position = SHARD_END, minutes: float | None = None, **fields: object
    ) -> Lease:
        """Create the row of a listed shard, read up to a time."""
        [shard] = [shard for shard in self.stream.shards() if shard.shard_id == shard_id]
        read_to = at(minutes) if minutes is not None else None
        row = Lease(shard_id, checkpoint, shard.parents, hash_range=shard.hash_range, read_to=read_to)
        row = Lease(**{**{name: getattr(row, name) for name in row.__slots__}, **fields})
        self.table.create(row)
        return row

    def reset(self, to: str, *shard_ids: str) -> Plan:
        """Plan a reset and carry it out."""
        plan = self.checkpoints.plan_reset(target_of(to), shard_ids)
        with closing(self.checkpoints) as checkpoints:
            checkpoints.carry_out(plan)
        return plan

    @property
    def rows(self) -> dict[str, Lease]:
        return {row.shard_id: row for row in self.table.scan()}

    def renew(self, shard_id: str, worker: WorkerIdentity) -> None:
        """Renew a lease as its worker does."""
        row = self.rows[shard_id]
        self.table.write([Change(row, renewed(row, worker, None))])


def free(rows: Sequence[Lease]) -> bool:
    """Return whether no row has an owner."""
    return all(row.owner is None and row.checkpoint_owner is None for row in rows)
