"""Provide ports that write to one journal, so that a test sees the order of their calls."""

import json
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from consumer.leases import Change, Lease, WorkerIdentity, Written
from consumer.leases.lease import taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.pipeline import Pipeline
from consumer.records import (
    BatchLimits,
    Block,
    DeadLetter,
    Decoded,
    Fetched,
    Position,
    Reason,
    Shard,
    StreamSummary,
)
from consumer.runtime.memory_budget import MemoryBudget
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.shard.held_lease import HeldLease
from consumer.sinks import Deduplication, Rows
from consumer.telemetry.metrics import Metrics
from tests.unit.clocks import FakeClock

ME = WorkerIdentity("me", "start")
SHARD = "shard"


def block(numbers: Iterable[int], data: bytes = b"bytes") -> Block:
    """Return a block with a row per sequence number. All rows come from the user record `data`."""
    lines = [line(number) for number in numbers]
    return Block(b"".join(lines), len(lines), [data] * len(lines))


def line(number: int) -> bytes:
    """Return an encoded row that only has a location."""
    location = {"stream_name": "stream", "shard_id": SHARD, "sequence_number": str(number), "sub_sequence_number": 0}
    more = {"event_index": 0, "partition_key": "key", "arrived_at": "1970-01-01T00:00:00.000Z"}
    return json.dumps({**location, **more}, separators=(",", ":")).encode() + b"\n"


def decoded(numbers: Sequence[int], arrived_at: float = 0.0, size: int = 1) -> Decoded:
    """Return what plain records with these sequence numbers became: a row each, from user records of `size` bytes."""
    last, count = Position.of(numbers[-1]), len(numbers)
    return Decoded(block(numbers, bytes(size)), (), (), count, count, 0, numbers[0], last, arrived_at)


def shown(rows: Iterable[Block]) -> list[str]:
    """Return the sequence numbers of rows, or the lines of dead letters."""
    lines = [line.decode() for block in rows for line in block.lines.splitlines()]
    return [json.loads(line)["sequence_number"] if line.startswith("{") else line for line in lines]


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """Return a dead letter in the format of these tests."""
    return f"{letter.reason.value}:{letter.location.sequence}\n".encode()


class JournalTable(MemoryLeaseTable):
    """A lease table that records its writes."""

    def __init__(self, journal: list[str]) -> None:
        super().__init__()
        self.journal = journal

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        for before, after in changes:
            if after.pending is not None and before.pending is None:
                self.journal.append(f"prepare {after.pending.end}")
            if after.checkpoint != before.checkpoint:
                self.journal.append(f"checkpoint {after.checkpoint}")
            if after.owner != before.owner:
                self.journal.append(f"owner {after.owner}")
        return super().write(changes)


@dataclass
class JournalSink:
    """A sink that records its writes. It raises each item of `answers` in turn; None raises nothing."""

    name: str
    journal: list[str]
    repeats: Deduplication = Deduplication.BY_ROW
    answers: list[BaseException | None] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    rejects: Collection[bytes] = ()
    limits: BatchLimits = field(default_factory=BatchLimits)
    rejects_rows: bool = True

    def check(self) -> None:
        pass

    def holds(self, name: str) -> bool:
        return False

    def close(self) -> None:
        pass

    def write(self, rows: Rows) -> int:
        self.before()
        self.journal.append(f"{self.name} {','.join(shown(rows))}")
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return 0


@dataclass
class Counted:
    """Counts that record what a delivery reports."""

    fetched: int = 0
    skipped: list[str] = field(default_factory=list)
    rows: int = 0
    repeated: int = 0
    letters: list[Reason] = field(default_factory=list)

    def records_delivered(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None:
        self.fetched += fetched
        self.skipped += skipped

    def written(self, rows: int, repeated: int) -> None:
        self.rows += rows
        self.repeated += repeated

    def dead_lettered(self, reason: Reason, letters: int) -> None:
        self.letters += [reason] * letters

    def dropped(self, reason: Reason, events: int) -> None:
        """Do nothing: no test of these counts drops an event."""


class QuietStream:
    """A stream with one empty shard."""

    def summary(self) -> StreamSummary:
        return StreamSummary("stream", True, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))

    def shards(self) -> Sequence[Shard]:
        return [Shard(SHARD)]

    def open(self, shard_id: str, position: Position) -> str:
        return "iterator"

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        return Fetched([], iterator, 0)

    def close(self) -> None:
        pass


def shard_context(clock: FakeClock, **changes: Any) -> ShardContext:
    """Return the context that all shards of a process share, with a stream that is empty by default."""
    parts: dict[str, Any] = {
        "stream": QuietStream(),
        "pipeline": Pipeline(
            JournalSink("rows", []), JournalSink("letters", []), BatchLimits(), encode_dead_letter, Metrics(clock=clock)
        ),
        "budget": MemoryBudget(10_000_000),
        "polling": PollingPolicy(),
        "clock": clock,
        "server_time": lambda: datetime.fromtimestamp(clock.now, UTC),
        "decoder": lambda _: None,
        "rng": random.Random(1),
        "log": structlog.get_logger(),
    }
    return ShardContext(**{**parts, **changes})


def held(journal: list[str], clock: FakeClock, duration: float = 10.0, **fields: Any) -> tuple[JournalTable, HeldLease]:
    """Return a table with one shard, and the held lease on it."""
    table = JournalTable(journal)
    table.create(Lease(SHARD, hash_range=Shard(SHARD).hash_range, **fields))
    [lease] = table.scan()
    [written] = table.write([Change(lease, taken(lease, ME))])
    assert written.row is not None
    journal.clear()
    return table, HeldLease(table, written.row, ME, duration, clock).began(clock())
