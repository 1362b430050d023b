"""The workers of a simulated fleet: the real coordinator and shard consumers on ports that fail."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from consumer.errors import ConfigurationError, where
from consumer.fleet.coordinator import Coordinator
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Lease, WorkerIdentity
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.pipeline import Pipeline
from consumer.records import Block, DeadLetter, Decoded, EventLocation, Position, Reason, Record, rfc3339
from consumer.runtime.memory_budget import MemoryBudget
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.telemetry.metrics import Metrics
from tests.simulation.sinks import SimSink, Store
from tests.simulation.stream import Faults, SimClient, SimStream
from tests.simulation.table import SimTable
from tests.simulation.world import Process, Silent, VirtualScheduler, World

if TYPE_CHECKING:
    from tests.simulation.kcl import KclWorker

LEASE = 10.0


@dataclass(frozen=True)
class SimDecoder:
    """Decode records whose data are comma-separated ids, as in a KPL aggregate, into blocks of any size.

    x… becomes a dead letter, s… is skipped, and the sink rejects r….
    """

    shard_id: str
    rng: random.Random

    def __call__(self, backlog: deque[Record], after: Position, rows: int) -> Iterator[Decoded]:
        most = self.rng.randint(1, rows)
        while backlog and most > 0:
            record = backlog.popleft()
            ids = record.data.decode().split(",")
            last = Position.of(record.sequence, len(ids) - 1)
            if after < last:
                fresh = [(sub, one) for sub, one in enumerate(ids) if after < Position.of(record.sequence, sub)]
                yield self._decoded(record, last, fresh)
                most -= len(fresh)

    def _decoded(self, record: Record, last: Position, found: Sequence[tuple[int, str]]) -> Decoded:
        rows = [(sub, one) for sub, one in found if one[0] not in "xs"]
        lines = b"".join(self._line(record, sub, one) for sub, one in rows)
        block = Block(lines, len(rows), [one.encode() for _, one in rows])
        letters = [self._letter(record, sub, one) for sub, one in found if one[0] == "x"]
        skipped = [one for _, one in found if one[0] == "s"]
        return Decoded(block, letters, skipped, 1, len(found), 0, record.sequence, last, record.arrived_at)

    def _line(self, record: Record, sub: int, event_id: str) -> bytes:
        where = {"stream_name": "sim", "shard_id": self.shard_id, "sequence_number": str(record.sequence)}
        more = {"sub_sequence_number": sub, "event_index": 0, "partition_key": "key"}
        row = {"event_id": event_id, **where, **more, "arrived_at": rfc3339(record.arrived_at)}
        return msgspec.json.encode(row) + b"\n"

    def _letter(self, record: Record, sub: int, event_id: str) -> DeadLetter:
        place = EventLocation("sim", self.shard_id, record.sequence, sub, 0, "key", record.arrived_at)
        return DeadLetter(Reason.NOT_JSON, "no", place, event_id.encode())


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """Return a dead letter as a line: its event id, marked, and where it is from."""
    location = letter.location
    row = {"event_id": f"dead:{letter.data.decode()}", "shard_id": location.shard_id}
    return msgspec.json.encode({**row, "sequence_number": str(location.sequence)}) + b"\n"


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
            SimSink(world, fleet.dead, process, fleet.faults, fleet.holder_for(name)),
            rows.limits,
            encode_dead_letter,
            Metrics(),
        ),
        budget=MemoryBudget(600),
        polling=PollingPolicy(),
        clock=lambda: world.now,
        server_time=world.wall,
        decoder=lambda shard: SimDecoder(shard.shard_id, world.rng),
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
