"""Finish a batch that was prepared for another format or decoder: each of its rows is in exactly one object."""

import gzip
import json
from collections import deque
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from consumer.pipeline.batching import Batch, Part
from consumer.pipeline.delivery import Delivery
from consumer.pipeline.spool import Spool
from consumer.records import Position
from consumer.sinks import Sink, SinkSchema
from consumer.sinks.objects import directory
from consumer.urls import options_of, parse
from tests.unit.clocks import FakeClock
from tests.unit.fakes import Counted, JournalTable, block, encode_dead_letter, held

SCHEMA = SinkSchema("things", ("sequence_number",), ("sequence_number",))
LETTERS = SinkSchema("dead_things", ("sequence_number",), ("sequence_number",), private=True)
NAME = "dt=2026-01-01/hour=00/shard-1-2"
END = Position.of(9)


class Killed(BaseException):
    """The process is killed."""


class Lake:
    """A directory that several processes write to, one after the other, under one lease."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table: JournalTable
        self.table, self.held_lease = held([], FakeClock())

    def sink(self, form: str, schema: SinkSchema = SCHEMA) -> Sink:
        url = parse("--sink", f"file:{self.root}?format={form}")
        return directory.connect(url, options_of(url, directory.Options), schema)

    def delivery(self, form: str, decoder: str = "old") -> Delivery:
        """Start a process whose decoder has this version."""
        letters = self.sink("jsonl", LETTERS)
        return Delivery(self.held_lease, self.sink(form), letters, encode_dead_letter, Counted(), decoder)

    def deliver(self, form: str, decoder: str = "old", dead: int = 0) -> None:
        delivery = self.delivery(form, decoder)
        delivery.deliver(delivery.resume(batch(dead)))
        assert self.table.scan()[0].checkpoint == END
        assert self.table.scan()[0].pending is None

    def killed(self, monkeypatch: pytest.MonkeyPatch, before: str, form: str, dead: int = 0) -> None:
        """Start a process that is killed before it writes rows, or before it stores the checkpoint."""

        def kill(*_: object) -> None:
            raise Killed

        delivery = self.delivery(form)
        work = delivery.resume(batch(dead))
        target: Any = delivery._rows if before == "write" else self.held_lease
        with monkeypatch.context() as patch:
            patch.setattr(target, before, kill)
            with pytest.raises(Killed):
                delivery.deliver(work)

    @property
    def files(self) -> list[str]:
        return sorted(file.name for file in self.root.rglob("*") if file.is_file())

    @property
    def rows(self) -> list[str]:
        """Return the sequence numbers of all rows, with duplicates."""
        return sorted(number for file in self.root.rglob("*") for number in numbers_in(file))


def numbers_in(file: Path) -> list[str]:
    if file.suffix == ".parquet":
        return [str(number) for number in pq.read_table(file).column("sequence_number").to_pylist()]
    if not file.name.endswith((".jsonl", ".jsonl.gz")):
        return []
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line)["sequence_number"] for line in content.splitlines()]


def batch(dead: int = 0) -> Batch:
    """Return rows 1 and 2, and `dead` dead letters."""
    work: deque[Part] = deque()
    for is_dead, count in ((True, dead), (False, 2)):
        spool = Spool()
        spool.append(block(range(1, count + 1)), 1)
        if count:
            work.append(Part(NAME, spool, 0, count, is_dead))
    return Batch(NAME, END, work)


@pytest.mark.parametrize("dies_before", ["write", "checkpoint"])
@pytest.mark.parametrize(("form", "later"), [("jsonl.gz", "parquet"), ("parquet", "jsonl"), ("jsonl", "jsonl.gz")])
def test_another_format_finishes_the_object_that_was_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_before: str, form: str, later: str
) -> None:
    """The name and the format of the object were stored before the write. Dead letters are written once, too."""
    lake = Lake(tmp_path)
    lake.killed(monkeypatch, dies_before, form, dead=1)
    lake.deliver(later, dead=1)
    assert lake.files == sorted([f"shard-1-2.{form}", "shard-1-2.dead-letters"])
    assert lake.rows == ["1", "2"]


@pytest.mark.parametrize("later", ["jsonl.gz", "parquet"])
def test_another_decoder_finishes_the_object_that_was_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    """Its dead letters may differ, and those of the first decoder may be written. So they get another name."""
    lake = Lake(tmp_path)
    lake.killed(monkeypatch, "write", "jsonl.gz", dead=1)
    lake.deliver(later, "new", dead=2)
    assert lake.files == ["shard-1-2.dead-letters", "shard-1-2.jsonl.gz", "shard-1-2.new.dead-letters"]
    assert lake.rows == ["1", "2"]


@pytest.mark.parametrize(("later", "decoder"), [("parquet", "old"), ("jsonl.gz", "new"), ("parquet", "new")])
def test_a_paused_process_that_writes_late_repeats_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str, decoder: str
) -> None:
    """The other process has already seen that the object is missing. Only one of both can create it."""
    lake = Lake(tmp_path)
    lake.killed(monkeypatch, "write", "jsonl.gz")
    newer = lake.delivery(later, decoder)
    work = newer.resume(batch())
    lake.sink("jsonl.gz").write(batch().work[-1])
    newer.deliver(work)
    assert lake.rows == ["1", "2"]


def test_the_next_batch_has_the_new_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the prepared batch keeps the old one."""
    lake = Lake(tmp_path)
    lake.killed(monkeypatch, "write", "jsonl.gz")
    lake.deliver("parquet")
    delivery = lake.delivery("parquet")
    following = batch()
    following.rename(f"{NAME}0")
    following.end = Position.of(20)
    delivery.deliver(delivery.resume(following))
    assert lake.files == ["shard-1-2.jsonl.gz", "shard-1-20.parquet"]
