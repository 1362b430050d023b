"""Workers, lease table and sinks of a simulated fleet: the real engine on ports that fail."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from consumer.engine.budget import Budget
from consumer.engine.coordinator import Coordinator
from consumer.engine.holdings import Fleet, Holdings
from consumer.engine.lineage import Origin
from consumer.engine.outlets import Outlets
from consumer.engine.surroundings import Pace, Surroundings
from consumer.errors import BatchRejected, LeaseTableUnavailable, RowsRejected, SinkUnavailable
from consumer.leases import Change, Lease, LeaseTable, Worker, Written
from consumer.leases.kcl_item import item_of
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.spool import Letter
from consumer.records import BatchLimits, DeadLetter, Outcome, Place, Position, Reason, Record, Row, Shard, Skipped
from consumer.sinks import Batch, Repeats
from consumer.telemetry.metrics import Metrics
from tests import kcl_parser
from tests.simulation.stream import Faults, SimClient, SimStream
from tests.simulation.world import Killed, Process, Silent, VirtualScheduler, World

if TYPE_CHECKING:
    from tests.simulation.kcl import KclWorker

LEASE = 10.0


class SimTable:
    """The lease table as one process reaches it, and the witness of what is written."""

    def __init__(self, fleet: "SimFleet", process: Process) -> None:
        self._fleet, self._world, self._table = fleet, fleet.world, fleet.table
        self._process, self._faults = process, fleet.faults

    def check(self) -> None:
        pass

    def scan(self) -> Sequence[Lease]:
        self._trouble()
        return self._table.scan()

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        self._trouble()
        return self._table.read(shard_ids)

    def unreadable(self) -> Mapping[str, str]:
        return {}

    def assignees(self) -> Collection[str]:
        return [kcl.name for kcl in self._fleet.kcls if kcl.three and kcl.process.alive]

    def create(self, lease: Lease) -> None:
        self._trouble()
        self._table.create(lease)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        self._trouble()
        before = {row.shard_id: row for row in self._table.scan()}
        written = self._table.write(changes)
        for answer in written:
            if answer.done and answer.row is not None:
                self._witness(before[answer.row.shard_id], answer.row)
        self._world.spend(self._process, self._world.rng.uniform(0.001, 0.01))
        if self._faults.happens("lost answer"):
            raise LeaseTableUnavailable
        return written

    def want(self, lease: Lease, worker_id: str) -> None:
        self._trouble()
        self._table.want(lease, worker_id)

    def delete(self, lease: Lease) -> None:
        self._trouble()
        self._table.delete(lease)

    def close(self) -> None:
        pass

    def _trouble(self) -> None:
        self._world.spend(self._process, self._world.rng.uniform(0.001, 0.02))
        if self._faults.happens("table"):
            raise LeaseTableUnavailable

    def _witness(self, before: Lease, after: Lease) -> None:
        self._fleet.moved(before, after)
        try:
            kcl_parser.parse(item_of(after))
        except kcl_parser.KclThrows as error:
            self._world.violated(f"a KCL cannot read the row of {after.shard_id}: {error}")
        if after.checkpoint < before.checkpoint:
            self._world.violated(f"the checkpoint of {after.shard_id} went back")
        holder = before.checkpoint_owner or before.owner
        if after.checkpoint != before.checkpoint and holder != self._process.name:
            self._world.violated(f"{self._process.name} moved the checkpoint of {after.shard_id}, held by {holder}")


class Delivered(NamedTuple):
    event_id: str
    shard_id: str
    sequence: int
    at: float


@dataclass
class Store:
    """What a sink holds: every row as it was delivered, in order, whoever wrote it."""

    repeats: Repeats
    rows: list[Delivered] = field(default_factory=list)
    known: set[object] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)  # names of batches without a rejected row

    def add(self, name: str, rows: Sequence[Delivered]) -> int:
        """Take rows as a sink of this kind does; returns how many it had already."""
        if self.repeats is Repeats.BY_BATCH:
            if name in self.known:
                return len(rows)
            self.known.add(name)
        fresh = [row for row in rows if self.repeats is not Repeats.BY_ROW or row.event_id not in self.known]
        if self.repeats is Repeats.BY_ROW:
            self.known.update(row.event_id for row in fresh)
        self.rows.extend(fresh)
        return len(rows) - len(fresh)


class SimSink:
    """A store as one process reaches it: slow, failing before or after the write, rejecting some rows.

    The process may die between the write and the checkpoint; its successor's batches have other limits.
    """

    def __init__(self, world: World, store: Store, process: Process, faults: Faults) -> None:
        self._world, self._store, self._process, self._faults = world, store, process, faults
        self.limits = BatchLimits(world.rng.choice([3, 8, 20]), 10_000, world.rng.choice([0.5, 3.0]))
        self.repeats = store.repeats

    def check(self) -> None:
        pass

    def holds(self, name: str) -> bool:
        return name in self._store.whole

    def close(self) -> None:
        pass

    def write(self, batch: Batch) -> int:
        items = [(item.line.decode(), item.place) for item in batch]  # type: ignore[attr-defined]
        slow = self._faults.happens("slow sink")
        self._world.spend(
            self._process, self._world.rng.uniform(2, 25) if slow else self._world.rng.uniform(0.001, 0.05)
        )
        if self._faults.happens("sink before"):
            raise SinkUnavailable
        bad = {i: "no" for i, (line, _) in enumerate(items) if line.startswith("r")}
        if bad and self._store.repeats is Repeats.BY_ROW and self._world.seed % 2:
            raise BatchRejected
        good = [
            Delivered(line, place.shard_id, place.sequence, self._world.now)
            for i, (line, place) in enumerate(items)
            if i not in bad
        ]
        repeated = self._store.add(batch.name, good)
        if not bad:
            self._store.whole.add(batch.name)
        if self._faults.happens("death"):
            self._process.alive = False
            raise Killed
        if self._faults.happens("sink after"):
            raise SinkUnavailable
        if bad:
            raise RowsRejected(bad, repeated)
        return repeated


class SimDeadLetters(SimSink):
    """The same for dead letters, whose lines begin with what they are."""

    def write(self, batch: Batch) -> int:
        renamed = _Renamed(batch)
        return super().write(renamed)


class _Renamed:
    """Dead letters are never rejected: hide what the rows' sink would reject them for."""

    def __init__(self, batch: Batch) -> None:
        self.name = batch.name
        self._items = [Letter(b"dead:" + item.line, item.place) for item in batch]  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._items)


class Done(NamedTuple):
    outcomes: Sequence[Outcome]
    user_records: int
    out_of_range: int
    last: Position


def processor(shard: Shard) -> Callable[[Record, Position], Done]:
    """Comma-separated ids stand for a KPL aggregate; x… is a dead letter, s… is skipped, r… is rejected by the sink."""

    def process(record: Record, after: Position) -> Done:
        ids = record.data.decode().split(",")
        outcomes: list[Outcome] = []
        for sub, event_id in enumerate(ids):
            if Position.of(record.sequence, sub) <= after:
                continue
            place = Place("sim", shard.shard_id, record.sequence, sub, 0, "key", record.arrived_at)
            if event_id.startswith("x"):
                outcomes.append(DeadLetter(Reason.NOT_JSON, "no", place, event_id.encode()))
            elif event_id.startswith("s"):
                outcomes.append(Skipped(event_id))
            else:
                outcomes.append(Row(event_id.encode(), place, event_id.encode()))
        return Done(outcomes, len(outcomes), 0, Position.of(record.sequence, len(ids) - 1))

    return process


@dataclass
class SimWorker:
    """One worker process of the fleet."""

    process: Process
    coordinator: Coordinator
    draining: bool = False

    @property
    def over(self) -> bool:
        return not self.process.alive or (self.draining and self.coordinator.drained)


def start_worker(world: World, name: str, fleet: "SimFleet") -> SimWorker:
    """Start a worker on the fleet's stream, table and sinks."""
    process = Process(name)
    client = SimClient(fleet.stream, process, fleet.faults)
    table: LeaseTable = SimTable(fleet, process)
    rows = SimSink(world, fleet.rows, process, fleet.faults)
    surroundings = Surroundings(
        stream=client,
        outlets=Outlets(
            rows,
            SimDeadLetters(world, fleet.dead, process, fleet.faults),
            rows.limits,
            lambda letter: Letter(letter.data, letter.place),
            Metrics(),
        ),
        budget=Budget(600),
        pace=Pace(most_backoff=5.0),
        clock=lambda: world.now,
        server_time=world.wall,
        processor=processor,
        rng=world.rng,
        log=fleet.log,
    )
    me = Worker(name, f"{world.rng.getrandbits(32):08x}")
    settings = Fleet(me, lease_duration=LEASE, until=None)
    scheduler = VirtualScheduler(world, process)
    coordinator = Coordinator(Holdings(settings, table, surroundings, fleet.origin, scheduler), scheduler)
    coordinator.start()
    return SimWorker(process, coordinator)


class Move(NamedTuple):
    at: float
    shard_id: str
    before: str | None
    after: str | None


@dataclass
class SimFleet:
    """Everything the workers share."""

    world: World
    stream: SimStream
    table: MemoryLeaseTable
    rows: Store
    dead: Store
    faults: Faults
    origin: Origin = field(default_factory=Origin)
    log: Silent = field(default_factory=Silent)
    workers: list[SimWorker] = field(default_factory=list)
    kcls: "list[KclWorker]" = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)

    def moved(self, before: Lease, after: Lease) -> None:
        """Remember that a lease went from one worker to another."""
        if before.owner != after.owner:
            self.moves.append(Move(self.world.now, after.shard_id, before.owner, after.owner))
