"""Collects what one shard's records became until it is worth a write; pure but for the temporary file of a spool.

A batch ends on a whole Kinesis record, so a checkpoint behind it never cuts one in two.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from consumer.decoding.dead_letter_limit import DeadLetterLimit
from consumer.errors import SpoolUnavailable
from consumer.pipeline.spool import EncodedDeadLetter, Item, Spool
from consumer.records import BatchLimits, DeadLetter, Outcome, Position, Reason, Record, Row, Skipped

# What a row costs in memory beside its bytes: two bytes objects, two structs and what they hold.
ROW_OVERHEAD = 600
# What the rows, or the dead letters, of one record may add to those in memory; with more, the batch goes to disk.
RECORD_MEMORY = 8 * 1024 * 1024


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
    skipped: Counter[str] = field(default_factory=Counter)  # by event type
    dead_letters: Counter[Reason] = field(default_factory=Counter)


@dataclass(slots=True)
class Rejected:
    """The limit for dead letters of the rows of one user record. Copy it, change the copy, and keep that."""

    user_record: tuple[int, int]  # sequence and sub-sequence number
    limit: DeadLetterLimit

    def copy(self) -> "Rejected":
        """Return an independent copy."""
        return Rejected(self.user_record, copy(self.limit))


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
    rejected: Rejected | None = None  # what the sink rejected of the user record written last

    def rename(self, name: str) -> None:
        """Name the batch and what is to be written of it. Only before its first write."""
        self.name = name
        self.work = deque(replace(chunk, name=name) for chunk in self.work)


class Buffer:
    """The rows and dead letters of one shard since its last checkpoint.

    `memory` bounds the bytes kept in memory when the end of the batch is already fixed by a prepared checkpoint.
    """

    def __init__(self, shard_id: str, limits: BatchLimits, memory: int | None = None) -> None:
        self._shard_id, self._limits = shard_id, limits
        self._memory = float("inf") if memory is None else memory
        self.rows, self.dead_letters = Spool(memory), Spool(memory)
        self._items = self._bytes = 0
        self._since: float | None = None
        self._first = 0
        self._arrived_at = 0.0
        self.tally = Tally()
        self.last: Position | None = None
        self._rest: tuple[Iterator[Outcome], Callable[[DeadLetter | Skipped], object]] | None = None

    def add(
        self,
        record: Record,
        last: Position,
        outcomes: Iterable[Outcome],
        now: float,
        other: Callable[[DeadLetter | Skipped], object],
    ) -> None:
        """Take the rows of one record, and pass all other outcomes to `other`. Add dead letters by `add_dead_letter`.

        Raises:
            SpoolUnavailable: a part of the record is added; `finish` adds the rest.
        """
        if self._since is None:
            self._since, self._first = now, record.sequence
        self.last, self._arrived_at = last, record.arrived_at
        self.rows.memory = min(self._memory, self.rows.size + RECORD_MEMORY)
        self.dead_letters.memory = min(self._memory, self.dead_letters.size + RECORD_MEMORY)
        self._take(iter(outcomes), other)

    def finish(self) -> None:
        """Add the rest of a record that `add` could not add completely.

        Raises:
            SpoolUnavailable: call it again later.
        """
        if self._rest is not None:
            self.rows.settle()
            self.dead_letters.settle()
            (outcomes, other), self._rest = self._rest, None
            self._take(outcomes, other)

    def _take(self, outcomes: Iterator[Outcome], other: Callable[[DeadLetter | Skipped], object]) -> None:
        rows, data = self.rows, b""
        try:
            for outcome in outcomes:
                if isinstance(outcome, Row):
                    size = len(outcome.line)
                    self._items += 1
                    self._bytes += size
                    if outcome.data is not data:  # the rows of an array share it
                        data = outcome.data
                        size += len(data)
                    rows.append(outcome, size + ROW_OVERHEAD)
                else:
                    other(outcome)
        except SpoolUnavailable:
            self._rest = outcomes, other
            raise

    def add_dead_letter(self, letter: EncodedDeadLetter) -> None:
        """Take a dead letter."""
        self._items += 1
        self._bytes += len(letter.line)
        self.dead_letters.append(letter, len(letter.line) + ROW_OVERHEAD)

    @property
    def empty(self) -> bool:
        """No record has come since the last checkpoint, not even a skipped one."""
        return self._since is None

    def spill(self) -> None:
        """Move all to disk."""
        self.rows.spill()
        self.dead_letters.spill()

    @property
    def size(self) -> int:
        """Bytes of memory held."""
        return self.rows.size + self.dead_letters.size

    def full(self) -> bool:
        """Is it as large as the sink likes?"""
        return self._items >= self._limits.rows or self._bytes >= self._limits.bytes

    def ripe_in(self, now: float) -> float:
        """Seconds until it is as old as the sink likes; for an empty buffer, never."""
        return float("inf") if self._since is None else self._since + self._limits.age - now

    def batch(self) -> Batch:
        """The batch of all it holds. The buffer must not grow until the batch is delivered or dropped."""
        self.finish()
        if self.last is None:
            raise ValueError("an empty buffer makes no batch")
        name = f"{_folder(self._arrived_at)}/{self._shard_id}-{self._first}-{self.last.sequence}"
        batch = Batch(name, self.last, tally=self.tally, arrived_at=self._arrived_at)
        if len(self.dead_letters):
            batch.work.append(Chunk(name, self.dead_letters, 0, len(self.dead_letters), dead=True))
        if len(self.rows):
            batch.work.append(Chunk(name, self.rows, 0, len(self.rows)))
        return batch

    def close(self) -> None:
        """Drop everything."""
        self._rest = None
        self.rows.close()
        self.dead_letters.close()


def _folder(arrived_at: float) -> str:
    moment = datetime.fromtimestamp(arrived_at, UTC)
    return f"dt={moment:%Y-%m-%d}/hour={moment:%H}"
