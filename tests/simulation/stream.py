"""A Kinesis stream in virtual time, with reshards, throttles, expiring iterators and sparse responses."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from consumer.errors import IncompleteResponse, IteratorExpired, ShardGone, StreamUnavailable, Throttled
from consumer.records import Fetched, Position, PositionKind, Record, Shard, StreamSummary
from tests.simulation.world import EPOCH, Process, World

SPACE = 2**128


@dataclass
class SimShard:
    """A shard with all its records. The stream trims nothing during a run."""

    shard: Shard
    records: list[Record] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    closed: bool = False


class SimStream:
    """The stream as producers and the operator use it."""

    def __init__(self, world: World, shards: int) -> None:
        self.world = world
        self.shards: dict[str, SimShard] = {}
        self._sequence = 10
        self._made = 0
        self.produced: dict[str, tuple[str, int]] = {}  # id -> shard, sequence
        step = SPACE // shards
        for index in range(shards):
            self._add((), (index * step, (index + 1) * step - 1 if index + 1 < shards else SPACE - 1))

    def _add(self, parents: tuple[str, ...], hash_range: tuple[int, int]) -> str:
        name = f"s{self._made:02}"
        self._made += 1
        self._sequence += 1
        self.shards[name] = SimShard(Shard(name, parents, hash_range, self._sequence))
        return name

    def open_shards(self) -> list[SimShard]:
        return [shard for shard in self.shards.values() if not shard.closed]

    def put(self, ids: list[str]) -> None:
        """Put one record with these user records on a random open shard."""
        shard = self.world.rng.choice(self.open_shards())
        self._sequence += self.world.rng.randint(1, 5)
        shard.records.append(Record(self._sequence, "key", self.world.now, ",".join(ids).encode()))
        for event_id in ids:
            self.produced[event_id] = (shard.shard.shard_id, self._sequence)

    def split(self) -> None:
        parent = self.world.rng.choice(self.open_shards())
        low, high = parent.shard.hash_range
        if high - low < 4:
            return
        middle = (low + high) // 2
        parent.closed = True
        name = parent.shard.shard_id
        parent.children = [self._add((name,), (low, middle)), self._add((name,), (middle + 1, high))]

    def merge(self) -> None:
        shards = sorted(self.open_shards(), key=lambda shard: shard.shard.hash_range)
        if len(shards) < 2:
            return
        index = self.world.rng.randrange(len(shards) - 1)
        left, right = shards[index], shards[index + 1]
        left.closed = right.closed = True
        names = (left.shard.shard_id, right.shard.shard_id)
        child = self._add(names, (left.shard.hash_range[0], right.shard.hash_range[1]))
        left.children = right.children = [child]


class SimClient:
    """The stream port of one process, with faults."""

    def __init__(self, stream: SimStream, process: Process, faults: "Faults", ours: bool = True) -> None:
        self._stream, self._process, self._faults = stream, process, faults
        self._ours = ours  # a KCL that has not noticed the loss of a lease may open shards that have ended
        self._world = stream.world
        self._iterators: dict[str, tuple[str, int, float]] = {}
        self._ended_rows: set[str] = set()

    def summary(self) -> StreamSummary:
        self._fail_sometimes()
        return StreamSummary("sim", True, EPOCH, self._world.wall())

    def shards(self) -> list[Shard]:
        self._fail_sometimes()
        shards = [
            Shard(s.shard.shard_id, s.shard.parents, s.shard.hash_range, s.shard.starting_sequence, s.closed)
            for s in self._stream.shards.values()
        ]
        if self._ours and self._faults.happens("part of a listing"):
            return self._world.rng.sample(shards, self._world.rng.randrange(len(shards)))
        return shards

    def open(self, shard_id: str, position: Position) -> str:
        if self._ours:
            self._faults.opened(shard_id)
        self._fail_sometimes()
        if shard_id not in self._stream.shards:
            raise ShardGone
        records = self._stream.shards[shard_id].records
        start = 0
        if position.kind is PositionKind.SEQUENCE:
            start = next((i for i, r in enumerate(records) if r.sequence >= position.sequence), len(records))
        elif position.kind is PositionKind.AT_TIMESTAMP and position.at is not None:
            since = (position.at - EPOCH) / timedelta(seconds=1)
            start = next((i for i, r in enumerate(records) if r.arrived_at >= since), len(records))
        return self._iterator(shard_id, start)

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self._fail_sometimes()
        shard_id, start, made = self._iterators[iterator]
        if self._world.now - made > 300 or self._faults.happens("expire"):
            raise IteratorExpired
        if self._faults.happens("throttle"):
            raise Throttled
        shard = self._stream.shards[shard_id]
        stop = (
            start
            if self._faults.happens("sparse")
            else min(len(shard.records), start + min(limit, self._world.rng.randint(1, 12)))
        )
        records = shard.records[start:stop]
        behind = (
            0 if stop == len(shard.records) else max(1, int((self._world.now - shard.records[stop].arrived_at) * 1000))
        )
        ended = shard.closed and stop == len(shard.records)
        children = [self._stream.shards[name].shard for name in shard.children] if ended else []
        if self._faults.happens("childless"):
            children = []
        size = sum(len(record.data) for record in records)
        fetched = Fetched(records, None if ended else self._iterator(shard_id, stop), behind, children, size)
        return self._odd(fetched) if self._ours else fetched

    def _odd(self, fetched: Fetched) -> Fetched:
        """Return a response that lacks members, as proxies and emulators send them."""
        if self._faults.happens("incomplete"):
            raise IncompleteResponse
        if self._faults.happens("nothing at all"):
            return Fetched([], None, 0)
        if self._faults.happens("no iterator"):
            fetched = replace(fetched, next_iterator=None)
        if self._faults.happens("wrong lag"):
            fetched = replace(fetched, millis_behind=self._world.rng.choice([None, 0]))
        return fetched

    def close(self) -> None:
        pass

    def _iterator(self, shard_id: str, start: int) -> str:
        name = f"i{len(self._iterators)}"
        self._iterators[name] = (shard_id, start, self._world.now)
        return name

    def _fail_sometimes(self) -> None:
        slow = self._faults.happens("slow stream")
        self._world.spend(
            self._process, self._world.rng.uniform(0.5, 4.0) if slow else self._world.rng.uniform(0.002, 0.03)
        )
        if self._faults.happens("stream"):
            raise StreamUnavailable


class Faults:
    """The probability of each fault. `quiet` ends all faults, so that the fleet can settle."""

    def __init__(self, world: World, rates: dict[str, float]) -> None:
        self._world, self._rates = world, rates
        self.quiet = False
        self.opened: Callable[[str], None] = lambda _: None

    def happens(self, kind: str) -> bool:
        """Decide at random whether a fault of this kind happens now."""
        rate = self._rates.get(kind, 0.0)
        if self.quiet or not rate or self._world.rng.random() >= rate:
            return False
        self._world.causes.append(kind)
        return True
