"""Keep everything in its place while the temporary directory cannot be written."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from consumer.errors import SpoolUnavailable
from consumer.multilang.wire import Wire
from consumer.pipeline import batching, spool
from consumer.pipeline.batching import Buffer
from consumer.pipeline.spool import Spool
from consumer.records import BatchLimits, DeadLetter, EventLocation, Outcome, Position, Reason, Record, Row
from consumer.sinks import Sink, jsonl, sqlite
from consumer.sinks.stdout import StdoutSink
from tests.contracts.places import connect
from tests.unit.drivers import ListSink
from tests.unit.fakes import encode_dead_letter, row
from tests.unit.multilang.test_record_processor import SOON, place, record, talk
from tests.unit.shard.test_consumer import Bench, records

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
CODES = ["ENOSPC", "EFBIG", "EDQUOT", "EIO"]


class Disk:
    """A temporary directory with room for `room` bytes more. The last write may be partial."""

    def __init__(self) -> None:
        self.room, self.error = 1 << 40, FULL
        self._write = os.pwrite

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        if self.room <= 0:
            raise self.error
        written = self._write(descriptor, data[: self.room], offset)
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "pwrite", disk.pwrite)
    return disk


def until_it_works(disk: Disk, step: Callable[[], object]) -> int:
    """Call `step`; after each failure, make more room. Return the number of failures."""
    failures = 0
    while True:
        try:
            step()
            return failures
        except SpoolUnavailable:
            failures += 1
            disk.room += 700 * failures


def lines(items: Iterator[Any]) -> list[bytes]:
    return [item.line for item in items]


@pytest.mark.parametrize("memory", [0, 5_000])
@pytest.mark.parametrize("room", range(0, 9_000, 450))
def test_a_full_disk_loses_no_item_and_repeats_none(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, room: int, memory: int
) -> None:
    """Wherever the disk becomes full: in the data, in a block, or while memory moves to disk."""
    monkeypatch.setattr(spool, "BLOCK_ITEMS", 7)
    disk.room = room
    items = [Row(b"%d" % n, row(n).location, b"%d" % (n // 3) * 50) for n in range(100)]
    full = Spool(memory)
    for item in items:
        try:
            full.append(item, 100)
        except SpoolUnavailable:
            until_it_works(disk, full.settle)
    assert list(full.between(0, 100)) == items
    assert list(full.between(33, 71)) == items[33:71]
    full.close()


@pytest.mark.parametrize("code", CODES)
def test_the_error_names_the_directory_and_what_to_do(disk: Disk, code: str) -> None:
    """It is retried, and counts as one cause for all shards."""
    disk.room, disk.error = 0, OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    full = Spool(0)
    says = rf"temporary directory {tempfile.gettempdir()}: {os.strerror(getattr(errno, code))}: free space .* TMPDIR"
    with pytest.raises(SpoolUnavailable, match=says) as caught:
        full.append(Row(b"x", row(1).location, b"x" * spool.BLOCK_BYTES), 1)
    assert caught.value.cause == SpoolUnavailable.cause
    full.close()


def test_a_missing_temporary_directory_is_the_same_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The items stay in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    full = Spool(10)
    with pytest.raises(SpoolUnavailable, match="missing: No such file"):
        full.append(row(1), 100)
    assert lines(full.between(0, 1)) == [b"1"]
    (tmp_path / "missing").mkdir()
    full.settle()
    assert lines(full.between(0, 1)) == [b"1"]
    full.close()


def test_a_record_that_was_interrupted_is_completed_once(disk: Disk) -> None:
    """Its remaining outcomes follow when there is room; until then there is no batch."""
    buffer, dead = Buffer("shard", BatchLimits(), memory=0), 0

    def outcomes() -> Iterator[Outcome]:
        for number in range(40):
            yield Row(b"%d" % number, row(number).location, os.urandom(spool.BLOCK_BYTES))
            yield DeadLetter(Reason.NOT_JSON, "no", row(number).location, b"")

    def other(outcome: Any) -> None:
        nonlocal dead
        dead += 1
        buffer.add_dead_letter(encode_dead_letter(outcome))

    disk.room = 20 * spool.BLOCK_BYTES
    with pytest.raises(SpoolUnavailable):
        buffer.add(Record(1, "key", 0.0, b""), Position.of(1), outcomes(), 0.0, other)
    with pytest.raises(SpoolUnavailable):
        buffer.batch()
    disk.room = 1 << 40
    letters, rows = buffer.batch().work
    assert (dead, len(letters)) == (40, 40)
    assert lines(iter(rows)) == [b"%d" % number for number in range(40)]
    buffer.close()


def test_a_shard_waits_for_space_and_continues_at_the_same_place(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not read again from the checkpoint, and nothing is delivered twice."""
    monkeypatch.setattr(batching, "RECORD_MEMORY", 0)
    monkeypatch.setattr(spool, "BLOCK_ITEMS", 1)
    bench = Bench()
    bench.stream.answers = [records(1, 2, 3)]
    disk.room = 0
    for _ in range(3):
        bench.clock.advance(bench.run() or 0.0)
    assert bench.done == []
    assert "shard.waiting" in bench.logged
    assert "shard.halted" not in bench.logged
    disk.room = 1 << 40
    bench.run()
    assert bench.done == ["rows 1,2", "checkpoint 2.0"]
    assert bench.journal.count("open TRIM_HORIZON") == 1


def test_the_daemon_child_waits_for_space_before_its_status(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not end, and no record may be missing."""
    monkeypatch.setattr(batching, "RECORD_MEMORY", 0)
    monkeypatch.setattr(spool, "BLOCK_ITEMS", 1)
    rows, pauses = ListSink(limits=SOON), list[int]()
    with talk(rows) as talking:
        disk.room = 0

        def pause(_wire: Wire, _seconds: float) -> bool:
            pauses.append(disk.room)
            disk.room = 1 << 40
            return False

        monkeypatch.setattr(Wire, "closes_within", pause)
        talking.daemon.records(record(1), record(2))
        assert talking.daemon.say("shardEnded")[0] == place(2)
    assert pauses[0] == 0
    assert len(rows.lines) == 2


@pytest.mark.parametrize("kind", ["jsonl", "sqlite", "stdout"])
def test_a_sink_passes_the_error_on_unchanged(tmp_path: Path, kind: str) -> None:
    """The sink is not at fault, so its name must not be in the error."""

    class Unreadable:
        name = "dt=2026-01-01/hour=00/shard-1-2"

        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[Row]:
            yield Row(b'{"id": 1, "value": "v"}', row(1).location, b"")
            raise SpoolUnavailable("temporary directory /tmp: full")

    with (tmp_path / "out").open("wb") as out:
        sinks: dict[str, Callable[[], Sink]] = {
            "jsonl": lambda: connect(jsonl, f"jsonl:{tmp_path}/rows"),
            "sqlite": lambda: connect(sqlite, f"sqlite:{tmp_path}/rows.db"),
            "stdout": lambda: StdoutSink(out.fileno()),
        }
        sink = sinks[kind]()
        with pytest.raises(SpoolUnavailable, match=r"^temporary directory /tmp: full$"):
            sink.write(Unreadable())
        sink.close()
    assert not list(tmp_path.rglob("*.jsonl"))


def test_rows_of_one_long_array_share_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The array itself is larger than a block, but it is written once."""
    write = Mock(side_effect=os.pwrite)
    monkeypatch.setattr(os, "pwrite", write)
    data, items = b"x" * (2 * spool.BLOCK_BYTES), Spool(memory=0)
    for number in range(2 * spool.BLOCK_ITEMS):
        items.append(Row(b"{}", EventLocation("stream", "shard", 1, 0, number, "key", 0.0), data), 2)
    items.close()
    assert write.call_count == 3  # the array and two blocks
