"""Collect the rows and dead letters of one shard until they are worth a write.

A batch ends with a whole Kinesis record, so a checkpoint never points into the middle of one.
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

# Bytes of memory per row in addition to its data: two bytes objects, two structs and their fields.
ROW_OVERHEAD = 600
# Bytes that the rows, or the dead letters, of one record may add to memory. Beyond that the batch goes to disk.
RECORD_MEMORY = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive items that are written together under one name: a whole batch, or a part from bisecting it."""

    name: str
    items: Spool
    start: int
    stop: int
    dead: bool = False  # whether they are dead letters, which have a separate sink

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Item]:
        return self.items.between(self.start, self.stop)

    def halves(self) -> "tuple[Chunk, Chunk]":
        """Return both halves. Their names are unique, and the same whenever the same chunk is halved."""
        middle = (self.start + self.stop) // 2
        stem = self.name.partition("~")[0]
        return tuple(  # type: ignore[return-value]
            Chunk(f"{stem}~{start}-{stop}", self.items, start, stop, self.dead)
            for start, stop in ((self.start, middle), (middle, self.stop))
        )


@dataclass(slots=True)
class Tally:
    """The counts of one batch, reported after its checkpoint: until then a retry may decode the batch again."""

    fetched: int = 0
    user_records: int = 0
    out_of_range: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # by event type
    dead_letters: Counter[Reason] = field(default_factory=Counter)


@dataclass(slots=True)
class Rejected:
    """The limit for dead letters of the rejected rows of one user record."""

    user_record: tuple[int, int]  # sequence and sub-sequence number
    limit: DeadLetterLimit

    def copy(self) -> "Rejected":
        """Return an independent copy."""
        return Rejected(self.user_record, copy(self.limit))


@dataclass(slots=True)
class Batch:
    """Everything between two checkpoints. `work` holds the chunks to write, so a retry continues there.

    `arrived_at` is the arrival of the last record in epoch seconds; 0 if unknown.
    """

    name: str
    end: Position
    work: deque[Chunk] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)
    arrived_at: float = 0.0
    rejected: Rejected | None = None  # of the user record that was written last

    def rename(self, name: str) -> None:
        """Rename the batch and its chunks. Call this only before the first write."""
        self.name = name
        self.work = deque(replace(chunk, name=name) for chunk in self.work)


class Buffer:
    """The rows and dead letters of one shard since its last checkpoint.

    `memory` limits the bytes in memory. Set it when a prepared checkpoint fixes the end of the batch.
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
        """Add a dead letter.

        Raises:
            SpoolUnavailable: the dead letter is added, but not on disk.
        """
        self._items += 1
        self._bytes += len(letter.line)
        self.dead_letters.append(letter, len(letter.line) + ROW_OVERHEAD)

    @property
    def empty(self) -> bool:
        """Return whether no record was added since the last checkpoint, not even a skipped one."""
        return self._since is None

    def spill(self) -> None:
        """Move everything to disk.

        Raises:
            SpoolUnavailable: some of it is still in memory.
        """
        self.rows.spill()
        self.dead_letters.spill()

    @property
    def size(self) -> int:
        """Return the bytes in memory."""
        return self.rows.size + self.dead_letters.size

    def full(self) -> bool:
        """Return whether the sink's limit of rows or bytes is reached."""
        return self._items >= self._limits.rows or self._bytes >= self._limits.bytes

    def ripe_in(self, now: float) -> float:
        """Return the seconds until the sink's limit of age is reached; infinite for an empty buffer."""
        return float("inf") if self._since is None else self._since + self._limits.age - now

    def batch(self) -> Batch:
        """Return everything as a batch. Add nothing until the batch is delivered or dropped.

        Raises:
            SpoolUnavailable: a record is not completely added.
        """
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
        """Drop everything and delete the temporary files."""
        self._rest = None
        self.rows.close()
        self.dead_letters.close()


def _folder(arrived_at: float) -> str:
    moment = datetime.fromtimestamp(arrived_at, UTC)
    return f"dt={moment:%Y-%m-%d}/hour={moment:%H}"
