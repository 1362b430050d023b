"""Shards of the stub. Their records are encoded before the first request, so that a response is a slice of bytes."""

import base64
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from benchmarks.events import SIZE, Event, events
from consumer.decoding.deaggregation import aggregate

HASH_KEYS = 2**128
FIRST_SEQUENCE = 49 * 10**54
STEP = 1 << 40  # between the sequence numbers of two neighbouring records
DIGITS = len(str(FIRST_SEQUENCE))
HISTORY = 3600.0  # seconds from the first event to the last, which arrives as the stub starts
LARGEST_RESPONSE = 10 * 1024 * 1024 * 4 // 3  # bytes of base64; AWS returns at most 10 MiB of data


class Records:
    """Encoded records that lie side by side in one buffer."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self._encoded = bytearray()
        self._starts = [0]

    def __len__(self) -> int:
        return len(self.arrivals)

    def put(self, record: Event, sequence: int) -> None:
        """Add a record."""
        self._encoded += (
            f'{{"ApproximateArrivalTimestamp":{record.at:.3f},"Data":"{base64.b64encode(record.data).decode()}",'
            f'"PartitionKey":"{record.partition_key}","SequenceNumber":"{sequence}"}},'
        ).encode()
        self.arrivals.append(round(record.at, 3))
        self._starts.append(len(self._encoded))

    def stop(self, start: int, most: int) -> int:
        """Return where a response from `start` on ends: after `most` records, or after 10 MiB, but never empty."""
        fits = bisect_right(self._starts, self._starts[start] + LARGEST_RESPONSE) - 1
        return min(max(fits, start + 1), start + most, len(self))

    def between(self, start: int, stop: int) -> memoryview:
        """Return records as JSON, with commas between them."""
        return memoryview(self._encoded)[self._starts[start] : max(self._starts[start], self._starts[stop] - 1)]

    def repeated(self, start: int, stop: int, sequences: Iterable[int]) -> bytes:
        """Return records as JSON with other sequence numbers."""
        copy = bytearray(self.between(start, stop))
        for sequence, end in zip(sequences, self._starts[start + 1 : stop + 1], strict=True):
            at = end - self._starts[start] - 3 - DIGITS  # behind the digits follow `"},`
            copy[at : at + DIGITS] = b"%d" % sequence
        return bytes(copy)


class Shard:
    """One shard. `count`: its records; more than are encoded when they repeat. `live`: they arrive as time passes.

    `end`: the number of records after which it ended, with `children`.
    """

    def __init__(self, number: int, hash_range: tuple[int, int], records: Records, parents: Sequence[str] = ()) -> None:
        self.shard_id, self.number = f"shardId-{number:012d}", number
        self.hash_range, self.parents, self._records = hash_range, parents, records
        self.count, self.live = 0, False
        self.end: int | None = None
        self.children: Sequence[Shard] = ()
        self._lock, self._furthest = threading.Lock(), 0

    def sequence(self, index: int) -> int:
        """Return the sequence number of a record."""
        return FIRST_SEQUENCE + (index + 1) * STEP + self.number

    @property
    def sequences(self) -> list[int]:
        """Return the sequence numbers of all records."""
        return [self.sequence(index) for index in range(self.count)]

    def put(self, record: Event) -> None:
        """Add a record."""
        self._records.put(record, self.sequence(self.count))
        self.count += 1

    def close(self, children: Sequence["Shard"]) -> None:
        """End the shard after the last record that was read."""
        with self._lock:
            self.end, self.children = self._furthest, children

    def find(self, asked: dict[str, Any]) -> int:
        """Return the index of the record that a GetShardIterator request names. Raise KeyError for an unknown type."""
        kind = asked["ShardIteratorType"]
        found: dict[str, Callable[[], int]] = {
            "TRIM_HORIZON": lambda: 0,
            "LATEST": self._visible,
            "AT_TIMESTAMP": lambda: bisect_left(self._records.arrivals, asked["Timestamp"]),
            "AT_SEQUENCE_NUMBER": lambda: -(self._offset(asked) // -STEP) - 1,
            "AFTER_SEQUENCE_NUMBER": lambda: self._offset(asked) // STEP,
        }
        return min(max(found[kind](), 0), self.count)

    def _offset(self, asked: dict[str, Any]) -> int:
        return int(asked["StartingSequenceNumber"]) - FIRST_SEQUENCE - self.number

    def _visible(self) -> int:
        """Return the number of records that have arrived."""
        if self.end is not None:
            return self.end
        return bisect_right(self._records.arrivals, time.time()) if self.live else self.count

    def answer(self, start: int, most: int) -> Iterator[bytes | memoryview]:
        """Yield a GetRecords response from record `start` on, in pieces."""
        with self._lock:
            visible = self._visible()
            stop = min(self._stop(start, most), visible) if start < visible else start
            self._furthest = max(self._furthest, stop)
            ended = stop == self.end
        yield f'{{"MillisBehindLatest":{self._behind(stop, visible)},{self._next(stop, ended)}"Records":['.encode()
        if stop > start:
            yield self._between(start, stop)
        yield b"]}"

    def _stop(self, start: int, most: int) -> int:
        first = start % len(self._records)
        return start - first + self._records.stop(first, most)

    def _between(self, start: int, stop: int) -> bytes | memoryview:
        if stop <= len(self._records) and not self.parents:
            return self._records.between(start, stop)
        first = start % len(self._records)
        return self._records.repeated(first, first + stop - start, map(self.sequence, range(start, stop)))

    def _behind(self, stop: int, visible: int) -> int:
        if stop >= visible:
            return 0
        return max(1, round((time.time() - self._records.arrivals[stop % len(self._records)]) * 1000))

    def _next(self, stop: int, ended: bool) -> str:
        if not ended:
            return f'"NextShardIterator":"{iterator_to(self.number, stop)}",'
        children = ",".join(child.described_as_child() for child in self.children)
        return f'"ChildShards":[{children}],'

    def described_as_child(self) -> str:
        """Return the shard as JSON, as in the last GetRecords response of its parent."""
        parents = ",".join(f'"{parent}"' for parent in self.parents)
        first, last = self.hash_range
        hashes = f'{{"StartingHashKey":"{first}","EndingHashKey":"{last}"}}'
        return f'{{"ShardId":"{self.shard_id}","ParentShards":[{parents}],"HashKeyRange":{hashes}}}'

    def listed(self) -> dict[str, Any]:
        """Return the shard as in a ListShards response."""
        first, last = self.hash_range
        sequences = {"StartingSequenceNumber": str(FIRST_SEQUENCE)}
        if self.end is not None:
            sequences["EndingSequenceNumber"] = str(self.sequence(self.end))
        return {
            "ShardId": self.shard_id,
            **dict(zip(("ParentShardId", "AdjacentParentShardId"), self.parents, strict=False)),
            "HashKeyRange": {"StartingHashKey": str(first), "EndingHashKey": str(last)},
            "SequenceNumberRange": sequences,
        }

    def child(self, number: int, hash_range: tuple[int, int], *others: "Shard") -> "Shard":
        """Return a child of this shard and of others, with the same records."""
        child = Shard(number, hash_range, self._records, [parent.shard_id for parent in (self, *others)])
        child.count = self.count
        return child


def iterator_to(shard: int, index: int) -> str:
    """Return an opaque iterator, about as long as those of AWS."""
    return base64.b64encode(f"{shard}:{index}:".ljust(160, "-").encode()).decode()


def read_iterator(text: str) -> tuple[int, int]:
    """Return the shard and the record that an iterator names. Raise ValueError for another text."""
    shard, index, _ = base64.b64decode(text).decode().split(":")
    return int(shard), int(index)


def bake(
    shards: int,
    count: int,
    per_record: int,
    began: float,
    *,
    seconds: float = -HISTORY,
    size: int = SIZE,
    distinct: int | None = None,
) -> list[Shard]:
    """Return shards with `count` events in total. A `per_record` above 1 puts that many into each KPL aggregate.

    The events arrive in the `seconds` before `began` (negative), or in those after it. `size`: bytes per event.
    With `distinct` only that many events are encoded, and they repeat with new sequence numbers.
    """
    made = []
    for number in range(shards):
        hash_range = (number * HASH_KEYS // shards, (number + 1) * HASH_KEYS // shards - 1)
        made.append(shard := Shard(number, hash_range, Records()))
        first, last = sorted((began, began + seconds))
        different = min(distinct or count, count) // shards
        for record in _records(events(number, different, first, last, size), per_record):
            shard.put(record)
        shard.count, shard.live = -(-count // shards // per_record), seconds > 0
    return made


def _records(made: Iterable[Event], per_record: int) -> Iterator[Event]:
    rest = iter(made)
    while part := list(islice(rest, per_record)):
        if per_record == 1:
            yield part[0]
        else:
            yield Event(part[-1].at, "a", aggregate([(event.partition_key, event.data) for event in part]))
