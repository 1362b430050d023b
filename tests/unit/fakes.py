"""Ports that write into one journal, so that a test sees what happened in which order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.engine.tenure import Tenure
from consumer.leases import Change, Lease, Worker, Written
from consumer.leases.lease import taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.spool import Letter
from consumer.records import BatchLimits, DeadLetter, Place, Reason, Row, Shard
from consumer.sinks import Batch, Repeats
from tests.unit.clocks import FakeClock

ME = Worker("me", "start")
SHARD = "shard"


def row(number: int) -> Row:
    """A row whose line is its number."""
    return Row(str(number).encode(), Place("stream", SHARD, number, 0, 0, "key", 0.0), b"bytes")


def seal(letter: DeadLetter) -> Letter:
    """A dead letter as this suite writes it."""
    return Letter(f"{letter.reason.value}:{letter.place.sequence}".encode(), letter.place)


class JournalTable(MemoryLeaseTable):
    """Says what is written to the lease."""

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
    """Says what it is given; `answers` are raised, one a write, None for none."""

    name: str
    journal: list[str]
    repeats: Repeats = Repeats.BY_ROW
    answers: list[BaseException | None] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    rejects: Collection[bytes] = ()
    limits: BatchLimits = field(default_factory=BatchLimits)

    def check(self) -> None:
        pass

    def holds(self, name: str) -> bool:
        return False

    def close(self) -> None:
        pass

    def write(self, batch: Batch) -> int:
        self.before()
        lines = [item.line.decode() for item in batch]
        self.journal.append(f"{self.name} {','.join(lines)}")
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return 0


@dataclass
class Counted:
    """What a delivery counts."""

    fetched: int = 0
    skipped: list[str] = field(default_factory=list)
    rows: int = 0
    repeated: int = 0
    letters: list[Reason] = field(default_factory=list)

    def read(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None:
        self.fetched += fetched
        self.skipped += skipped

    def written(self, rows: int, repeated: int) -> None:
        self.rows += rows
        self.repeated += repeated

    def dead_lettered(self, reason: Reason, letters: int) -> None:
        self.letters += [reason] * letters


def held(journal: list[str], clock: FakeClock, duration: float = 10.0, **fields: Any) -> tuple[JournalTable, Tenure]:
    """A table with one shard, and a tenure that holds it."""
    table = JournalTable(journal)
    table.create(Lease(SHARD, hash_range=Shard(SHARD).hash_range, **fields))
    [lease] = table.scan()
    [written] = table.write([Change(lease, taken(lease, ME))])
    assert written.row is not None
    journal.clear()
    return table, Tenure(table, written.row, ME, duration, clock).began(clock())
