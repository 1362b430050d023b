"""Collect the rows and dead letters of one shard until they are worth a write.

A batch ends with a whole Kinesis record, so a checkpoint never points into the middle of one.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from consumer.decoding.dead_letter_limit import DeadLetterLimit
from consumer.errors import SpoolUnavailable
from consumer.pipeline.spool import Spool
from consumer.records import BatchLimits, Block, DeadLetter, Decoded, Position, Reason

MOST_TYPES = 1_000  # types of skipped events counted per batch; real streams have fewer
OTHER_TYPES = ""  # the type under which all others are counted
# Bytes of memory per block in addition to its lines and data.
BLOCK_OVERHEAD = 600
# Bytes of memory per kept user record in addition to its data.
DATA_OVERHEAD = 50
# Bytes that the rows, or the dead letters, of one record may add to memory. Beyond that the batch goes to disk.
RECORD_MEMORY = 8 * 1024 * 1024

# Return a dead letter as a JSON line with a newline.
EncodeDeadLetter = Callable[[DeadLetter], bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are written together under one name (see `sinks.Rows`): those of a whole batch, or a part of them."""

    name: str
    spool: Spool
    start: int
    stop: int
    dead: bool = False  # whether they are dead letters, which have a separate sink

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Block]:
        return self.spool.between(self.start, self.stop)

    def data(self, index: int) -> bytes:
        """Return the user record of a row.

        Raises:
            SpoolUnavailable: the file cannot be read now.
        """
        return self.spool.data(self.start + index)

    def halves(self) -> "tuple[Part, Part]":
        """Return both halves. Their names are unique, and the same whenever the same part is halved."""
        middle = (self.start + self.stop) // 2
        stem = self.name.partition("~")[0]
        return tuple(  # type: ignore[return-value]
            Part(f"{stem}~{start}-{stop}", self.spool, start, stop, self.dead)
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
    dropped: Counter[Reason] = field(default_factory=Counter)

    def add(self, decoded: Decoded) -> None:
        """Count what records became."""
        self.fetched += decoded.records
        self.user_records += decoded.user_records
        self.out_of_range += decoded.out_of_range
        for letter in decoded.dead_letters:
            self.dead_letters[letter.reason] += 1
        self.dropped.update(decoded.dropped)
        for event_type in decoded.skipped:
            known = event_type in self.skipped or len(self.skipped) < MOST_TYPES
            self.skipped[event_type if known else OTHER_TYPES] += 1


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
    """Everything between two checkpoints. `work` holds the parts to write, so a retry continues there.

    `arrived_at` is the arrival of the last record in epoch seconds; 0 if unknown.
    """

    name: str
    end: Position
    work: deque[Part] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)
    arrived_at: float = 0.0
    rejected: Rejected | None = None  # of the user record that was written last

    def rename(self, name: str) -> None:
        """Rename the batch and its parts. Call this only before the first write."""
        self.name = name
        self.work = deque(replace(part, name=name) for part in self.work)


class Buffer:
    """The rows and dead letters of one shard since its last checkpoint.

    `memory` limits the bytes in memory, for a batch whose end is fixed by a prepared checkpoint. `length`: all bytes.
    """

    def __init__(
        self, shard_id: str, limits: BatchLimits, encode_dead_letter: EncodeDeadLetter, memory: int | None = None
    ) -> None:
        self._shard_id, self._limits, self._encode_dead_letter = shard_id, limits, encode_dead_letter
        self._memory = float("inf") if memory is None else memory
        self.rows, self.dead_letters = Spool(memory), Spool(memory)
        self._items = self.length = 0
        self._since: float | None = None
        self._first = 0
        self._arrived_at = 0.0
        self.tally = Tally()
        self.last: Position | None = None
        self._rest: Iterator[Block | DeadLetter] | None = None

    def add(self, pieces: Iterable[Decoded], now: float) -> None:
        """Take what consecutive records became.

        Raises:
            SpoolUnavailable: only a part is added; `finish` adds the rest.
        """
        self.rows.memory = min(self._memory, self.rows.size + RECORD_MEMORY)
        self.dead_letters.memory = min(self._memory, self.dead_letters.size + RECORD_MEMORY)
        self._take(self._counted(pieces, now))

    def finish(self) -> None:
        """Add the rest of what `add` could not add completely.

        Raises:
            SpoolUnavailable: call it again later.
        """
        if self._rest is not None:
            self.rows.settle()
            self.dead_letters.settle()
            items, self._rest = self._rest, None
            self._take(items)

    def _counted(self, pieces: Iterable[Decoded], now: float) -> Iterator[Block | DeadLetter]:
        """Yield the rows and dead letters of the pieces, and note their position and their counts."""
        for piece in pieces:
            if self._since is None:
                self._since, self._first = now, piece.first
            self.last, self._arrived_at = piece.last, piece.arrived_at
            self.tally.add(piece)
            if len(piece.block):
                yield piece.block
            yield from piece.dead_letters

    def _take(self, items: Iterator[Block | DeadLetter]) -> None:
        before: bytes | None = None  # the user record of the last row
        try:
            for item in items:
                if isinstance(item, Block):
                    self._add_rows(item, before)
                    before = item.data[-1] if item.data else None
                else:
                    self._add_dead_letter(self._encode_dead_letter(item))
        except SpoolUnavailable:
            self._rest = items
            raise

    def _add_rows(self, block: Block, before: bytes | None) -> None:
        self._items += len(block)
        self.length += len(block.lines)
        self.rows.append(block, len(block.lines) + _size_of(block.data, before) + BLOCK_OVERHEAD)

    def _add_dead_letter(self, line: bytes) -> None:
        self._items += 1
        self.length += len(line)
        self.dead_letters.append(Block(line, 1), len(line) + BLOCK_OVERHEAD)

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
        return self._items >= self._limits.rows or self.length >= self._limits.bytes

    @property
    def room(self) -> int:
        """Return the number of rows and dead letters up to the sink's limit; at least 1."""
        return max(1, self._limits.rows - self._items)

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
            batch.work.append(Part(name, self.dead_letters, 0, len(self.dead_letters), dead=True))
        if len(self.rows):
            batch.work.append(Part(name, self.rows, 0, len(self.rows)))
        return batch

    def close(self) -> None:
        """Drop everything and delete the temporary files."""
        self._rest = None
        self.rows.close()
        self.dead_letters.close()


def _folder(arrived_at: float) -> str:
    moment = datetime.fromtimestamp(arrived_at, UTC)
    return f"dt={moment:%Y-%m-%d}/hour={moment:%H}"


def _size_of(data: Sequence[bytes], before: bytes | None) -> int:
    """Return the bytes of memory that user records take after `before`. The rows of an array share theirs."""
    return sum(len(one) + DATA_OVERHEAD for one, last in zip(data, (before, *data), strict=False) if one is not last)
