"""The workers of a simulated fleet: the real coordinator and shard consumers on ports that fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from consumer.errors import ConfigurationError, where
from consumer.fleet.coordinator import Coordinator
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Lease, WorkerIdentity
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.spool import EncodedDeadLetter
from consumer.records import DeadLetter, EventLocation, Outcome, Position, Reason, Record, Row, Shard, Skipped
from consumer.runtime.memory_budget import MemoryBudget
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.telemetry.metrics import Metrics
from tests.simulation.sinks import SimDeadLetters, SimSink, Store
from tests.simulation.stream import Faults, SimClient, SimStream
from tests.simulation.table import SimTable
from tests.simulation.world import Process, Silent, VirtualScheduler, World

if TYPE_CHECKING:
    from tests.simulation.kcl import KclWorker

LEASE = 10.0


class Done(NamedTuple):
    outcomes: Sequence[Outcome]
    user_records: int
    out_of_range: int
    last: Position


def processor(shard: Shard) -> Callable[[Record, Position], Done]:
    """Return a decoder for records whose data are comma-separated ids, as in a KPL aggregate.

    x… becomes a dead letter, s… is skipped, and the sink rejects r….
    """

    def process(record: Record, after: Position) -> Done:
        ids = record.data.decode().split(",")
        outcomes: list[Outcome] = []
        for sub, event_id in enumerate(ids):
            if Position.of(record.sequence, sub) <= after:
                continue
            place = EventLocation("sim", shard.shard_id, record.sequence, sub, 0, "key", record.arrived_at)
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
    failed: bool = False

    @property
    def over(self) -> bool:
        return not self.process.alive or (self.draining and self.coordinator.finished)

    def leave(self, world: World, patience: float = 25.0) -> None:
        """End as a worker process does: wait until all leases are handed off, decline offers, and stop."""
        give_up = world.now + patience

        def end() -> None:
            if self.failed:
                self.coordinator.discard("failed")  # again, because a take may have completed
            if not self.over and world.now < give_up:
                world.at(world.now + 0.2, end, self.process)
                return
            if self.over:
                self.coordinator.decline_offers()
            else:
                world.causes.append("not drained")
            self.process.alive = False

        self.draining = True
        end()


def start_worker(world: World, name: str, fleet: "SimFleet") -> SimWorker:
    """Start a worker on the fleet's stream, lease table and sinks."""
    process = Process(name, f"{world.rng.getrandbits(32):08x}")
    client = SimClient(fleet.stream, process, fleet.faults)
    table = SimTable(fleet, process)
    rows = SimSink(world, fleet.rows, process, fleet.faults, fleet.holder_for(name))
    context = ShardContext(
        stream=client,
        pipeline=Pipeline(
            rows,
            SimDeadLetters(world, fleet.dead, process, fleet.faults, fleet.holder_for(name)),
            rows.limits,
            lambda letter: EncodedDeadLetter(letter.data, letter.location),
            Metrics(),
        ),
        budget=MemoryBudget(600),
        polling=PollingPolicy(),
        clock=lambda: world.now,
        server_time=world.wall,
        processor=processor,
        rng=world.rng,
        log=fleet.log,
    )
    settings = Fleet(WorkerIdentity(name, process.start), lease_duration=LEASE, until=None)
    scheduler = VirtualScheduler(world, process, lambda error: _failed(world, worker, error))
    coordinator = Coordinator(RunningShards(settings, table, context, fleet.origin, scheduler), scheduler)
    worker = SimWorker(process, coordinator)
    coordinator.start()
    return worker


def _failed(world: World, worker: SimWorker, error: Exception) -> None:
    """Drain a worker that must end because of a duplicate worker id. Any other failure is a violation."""
    if not isinstance(error, ConfigurationError):
        world.violated(f"unforeseen: {type(error).__name__} at {where(error)}")
    elif not worker.draining:
        worker.failed = True
        worker.leave(world)


class Move(NamedTuple):
    at: float
    shard_id: str
    before: str | None
    after: str | None


@dataclass
class SimFleet:
    """Everything that the workers share."""

    world: World
    stream: SimStream
    table: MemoryLeaseTable
    rows: Store
    dead: Store
    faults: Faults
    log: Silent
    origin: InitialPosition = field(default_factory=InitialPosition)
    workers: list[SimWorker] = field(default_factory=list)
    kcls: "list[KclWorker]" = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)  # shards that one of our workers has checkpointed as ended

    def holder_for(self, name: str) -> Callable[[str], str | None]:
        """Return a function that names the owner of a shard while worker `name` writes to a sink.

        It always returns `name` beside a KCL, which steals, and for several processes with one id, because a later one
        may take a lease at any time.
        """

        def holder(shard_id: str) -> str | None:
            [row] = self.table.read([shard_id])
            processes = sum(worker.process.name == name for worker in self.workers)
            return name if self.kcls or processes > 1 else row.checkpoint_owner or row.owner

        return holder

    def moved(self, before: Lease, after: Lease) -> None:
        """Note that a lease has moved from one worker to another."""
        if before.owner != after.owner:
            self.moves.append(Move(self.world.now, after.shard_id, before.owner, after.owner))
