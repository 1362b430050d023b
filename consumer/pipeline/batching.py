"""Collects what one shard's records became until it is worth a write; pure but for a temporary file when told to spill.

A batch ends on a whole Kinesis record, so a checkpoint behind it never cuts one in two.
"""

import pickle
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import IO

import msgspec

from consumer.records import BatchLimits, Outcome, Place, Position, Reason, Record, Row

# What a row costs in memory beside its bytes: two bytes objects, two structs and what they hold.
ROW_OVERHEAD = 600


class Letter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter ready for its sink: `line` is its JSON."""

    line: bytes
    place: Place


Item = Row | Letter


class Spool:
    """A list of items that lies on disk once it is larger than `memory` bytes; None: never."""

    def __init__(self, memory: int | None = None) -> None:
        self._memory = memory
        self._items: list[Item] = []
        self._file: IO[bytes] | None = None
        self._length = 0
        self.size = 0  # bytes in memory

    def append(self, item: Item, size: int) -> None:
        """Add an item of about `size` bytes."""
        self._length += 1
        if self._file is not None:
            pickle.dump(item, self._file)
            return
        self._items.append(item)
        self.size += size
        if self._memory is not None and self.size > self._memory:
            self._spill()

    def __len__(self) -> int:
        return self._length

    def between(self, start: int, stop: int) -> Iterator[Item]:
        """Iterate over items `start` to `stop`, not included."""
        if self._file is None:
            return iter(self._items[start:stop])
        self._file.seek(0)
        return islice(self._load(self._file), start, stop)

    def close(self) -> None:
        """Forget everything."""
        if self._file is not None:
            self._file.close()
        self._items = []

    def _spill(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the spool
        for item in self._items:
            pickle.dump(item, self._file)
        self._items, self.size = [], 0

    def _load(self, file: IO[bytes]) -> Iterator[Item]:
        for _ in range(self._length):
            yield pickle.load(file)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of items written at once under one name: a whole batch, or what bisecting made of it."""

    name: str
    items: Spool
    start: int
    stop: int
    dead: bool = False  # dead letters, for their own sink

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Item]:
        return self.items.between(self.start, self.stop)

    def halves(self) -> "tuple[Chunk, Chunk]":
        """Two chunks, each with a name of its own that is the same whenever the same chunk is halved."""
        middle = (self.start + self.stop) // 2
        stem = self.name.partition("~")[0]
        return tuple(  # type: ignore[return-value]
            Chunk(f"{stem}~{start}-{stop}", self.items, start, stop, self.dead)
            for start, stop in ((self.start, middle), (middle, self.stop))
        )


@dataclass(slots=True)
class Tally:
    """What a batch holds, to be counted once, when its checkpoint has moved: until then it may be decoded again."""

    fetched: int = 0
    user_records: int = 0
    out_of_range: int = 0
    skipped: list[str] = field(default_factory=list)  # event types
    letters: Counter[Reason] = field(default_factory=Counter)


@dataclass(slots=True)
class Batch:
    """Everything between two checkpoints. `work` is what is still to be written; a failed delivery goes on there.

    `arrived_at`: when the last record arrived, in epoch seconds; 0: unknown.
    """

    name: str
    end: Position
    work: deque[Chunk] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)
    arrived_at: float = 0.0

    def rename(self, name: str) -> None:
        """Name the batch and what is to be written of it. Only before its first write."""
        self.name = name
        self.work = deque(replace(chunk, name=name) for chunk in self.work)


class Buffer:
    """The rows and dead letters of one shard since its last checkpoint.

    `memory` bounds the bytes kept in memory when the end of the batch is fixed already (rule 7) and no limit applies.
    """

    def __init__(self, shard_id: str, limits: BatchLimits, memory: int | None = None) -> None:
        self._shard_id, self._limits = shard_id, limits
        self.rows, self.letters = Spool(memory), Spool(memory)
        self._items = self._bytes = 0
        self._since: float | None = None
        self._first = 0
        self._arrived_at = 0.0
        self.tally = Tally()
        self.last: Position | None = None

    def add(self, record: Record, last: Position, outcomes: Sequence[Outcome], now: float) -> Sequence[Outcome]:
        """Take the rows of one record; return what else it became. Its dead letters come back by `add_letter`."""
        if self._since is None:
            self._since, self._first = now, record.sequence
        self.last, self._arrived_at = last, record.arrived_at
        rest = []
        for outcome in outcomes:
            if type(outcome) is Row:
                size = len(outcome.line)
                self._items += 1
                self._bytes += size
                if outcome.place.event_index == 0:  # the other rows of an array keep the same bytes
                    size += len(outcome.data)
                self.rows.append(outcome, size + ROW_OVERHEAD)
            else:
                rest.append(outcome)
        return rest

    def add_letter(self, letter: Letter) -> None:
        """Take a dead letter."""
        self._items += 1
        self._bytes += len(letter.line)
        self.letters.append(letter, len(letter.line) + ROW_OVERHEAD)

    @property
    def empty(self) -> bool:
        """No record has come since the last checkpoint, not even a skipped one."""
        return self._since is None

    @property
    def size(self) -> int:
        """Bytes of memory held."""
        return self.rows.size + self.letters.size

    def full(self) -> bool:
        """Is it as large as the sink likes?"""
        return self._items >= self._limits.rows or self._bytes >= self._limits.bytes

    def ripe_in(self, now: float) -> float:
        """Seconds until it is as old as the sink likes; for an empty buffer, never."""
        return float("inf") if self._since is None else self._since + self._limits.age - now

    def batch(self) -> Batch:
        """The batch of all it holds. The buffer must not grow until the batch is delivered or dropped."""
        if self.last is None:
            raise ValueError("an empty buffer makes no batch")
        name = f"{_folder(self._arrived_at)}/{self._shard_id}-{self._first}-{self.last.sequence}"
        batch = Batch(name, self.last, tally=self.tally, arrived_at=self._arrived_at)
        if len(self.letters):
            batch.work.append(Chunk(name, self.letters, 0, len(self.letters), dead=True))
        if len(self.rows):
            batch.work.append(Chunk(name, self.rows, 0, len(self.rows)))
        return batch

    def close(self) -> None:
        """Drop everything."""
        self.rows.close()
        self.letters.close()


def _folder(arrived_at: float) -> str:
    moment = datetime.fromtimestamp(arrived_at, UTC)
    return f"dt={moment:%Y-%m-%d}/hour={moment:%H}"
