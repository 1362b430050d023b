"""A stream in memory under the same contract as Kinesis, for tests and for trying a worker without AWS.

It trims, reshards, expires iterators and reports `millis_behind` like Kinesis.
"""

import itertools
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from consumer.errors import IteratorExpired, ShardGone
from consumer.records import FULL_HASH_RANGE, Fetched, Position, PositionKind, Record, Shard, StreamSummary

ITERATOR_LIFE = 300.0  # seconds, as on AWS
MOST_BYTES = 10 * 1024 * 1024  # in one response, as on AWS
FIRST_SEQUENCE = 10**55  # as long as Kinesis' numbers


@dataclass
class _Shard:
    shard: Shard
    records: list[Record] = field(default_factory=list)
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Iterator:
    """An iterator at the first record after sequence number `after`, so that trimming does not move it."""

    shard_id: str
    after: int
    made_at: float


class MemoryStream:
    """One stream, shared by its readers and writers. `clock` returns epoch seconds."""

    def __init__(self, name: str, shards: int = 1, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._clock = clock
        self._created_at = datetime.fromtimestamp(int(clock()), UTC)
        self._sequences = itertools.count(FIRST_SEQUENCE)
        self._shards: dict[str, _Shard] = {}
        self._iterators: dict[str, _Iterator] = {}
        self._lock = threading.Lock()
        width = (FULL_HASH_RANGE[1] + 1) // shards
        for index in range(shards):
            last = FULL_HASH_RANGE[1] if index + 1 == shards else (index + 1) * width - 1
            self._add((), (index * width, last))

    # For producers and resharding ------------------------------------------------------------------------------------

    def put(self, data: bytes, partition_key: str = "key", shard_id: str | None = None) -> int:
        """Append a record to an open shard, by default the first. Return its sequence number."""
        with self._lock:
            chosen = next(
                name for name, each in self._shards.items() if not each.shard.closed and shard_id in (None, name)
            )
            sequence = next(self._sequences)
            self._shards[chosen].records.append(Record(sequence, partition_key, self._clock(), data))
            return sequence

    def split(self, shard_id: str) -> tuple[str, ...]:
        """Split a shard; return the ids of its two children."""
        with self._lock:
            first, last = self._shards[shard_id].shard.hash_range
            middle = (first + last) // 2
            children = (self._add((shard_id,), (first, middle)), self._add((shard_id,), (middle + 1, last)))
            self._close(shard_id, children)
            return children

    def merge(self, one: str, other: str) -> tuple[str, ...]:
        """Merge two adjacent shards; return the id of their child."""
        with self._lock:
            ranges = [self._shards[shard_id].shard.hash_range for shard_id in (one, other)]
            child = self._add((one, other), (min(ranges)[0], max(ranges)[1]))
            self._close(one, (child,))
            self._close(other, (child,))
            return (child,)

    def trim(self, shard_id: str, records: int) -> None:
        """Remove the oldest `records` records, like retention. Remove a closed shard that has none left."""
        with self._lock:
            trimmed = self._shards[shard_id]
            del trimmed.records[:records]
            if trimmed.shard.closed and not trimmed.records:
                del self._shards[shard_id]

    def _add(self, parents: tuple[str, ...], hash_range: tuple[int, int]) -> str:
        starting = next(self._sequences)
        shard_id = f"shardId-{starting - FIRST_SEQUENCE:012}"
        self._shards[shard_id] = _Shard(Shard(shard_id, parents, hash_range, starting))
        return shard_id

    def _close(self, shard_id: str, children: tuple[str, ...]) -> None:
        closed = self._shards[shard_id]
        closed.shard, closed.children = replace(closed.shard, closed=True), children

    # The port --------------------------------------------------------------------------------------------------------

    def summary(self) -> StreamSummary:
        return StreamSummary(self.name, True, self._created_at, datetime.fromtimestamp(int(self._clock()), UTC))

    def shards(self) -> Sequence[Shard]:
        with self._lock:
            return [each.shard for each in self._shards.values()]

    def open(self, shard_id: str, position: Position) -> str:
        with self._lock:
            records = self._known(shard_id).records
            if position.kind is PositionKind.SEQUENCE:
                after = position.sequence - 1
            elif position.kind is PositionKind.LATEST:
                after = records[-1].sequence if records else 0
            else:
                since = position.at.timestamp() if position.at is not None else 0.0
                after = next((r.sequence - 1 for r in records if r.arrived_at >= since), next(self._sequences))
            return self._iterator(shard_id, after)

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        with self._lock:
            at = self._iterators.get(iterator)
            if at is None or self._clock() - at.made_at > ITERATOR_LIFE:
                raise IteratorExpired
            read = self._known(at.shard_id)
            start = bisect_left(read.records, at.after + 1, key=lambda record: record.sequence)
            records = _fitting(read.records[start : start + limit])
            rest = read.records[start + len(records) :]
            size = sum(len(record.data) for record in records)
            if read.shard.closed and not rest:
                children = [self._shards[name].shard for name in read.children if name in self._shards]
                return Fetched(records, None, 0, children, size)
            behind = max(1, round((self._clock() - rest[0].arrived_at) * 1000)) if rest else 0
            after = records[-1].sequence if records else at.after
            return Fetched(records, self._iterator(at.shard_id, after), behind, (), size)

    def close(self) -> None:
        pass

    def _known(self, shard_id: str) -> _Shard:
        if shard_id not in self._shards:
            raise ShardGone
        return self._shards[shard_id]

    def _iterator(self, shard_id: str, after: int) -> str:
        name = f"iterator-{next(self._sequences) - FIRST_SEQUENCE}"
        self._iterators[name] = _Iterator(shard_id, after, self._clock())
        return name


def _fitting(records: Sequence[Record]) -> Sequence[Record]:
    """Return the first records that fit into one response, but at least one."""
    sizes = itertools.accumulate(len(record.data) for record in records)
    return records[: max(1, sum(1 for size in sizes if size <= MOST_BYTES))]
