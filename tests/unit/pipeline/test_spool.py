"""Keep everything in its place while the temporary directory cannot be written."""

import contextlib
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
from consumer.pipeline import batching
from consumer.pipeline.batching import Buffer
from consumer.pipeline.spool import Spool
from consumer.records import BatchLimits, Block, DeadLetter, Decoded, EventLocation, Position, Reason
from consumer.sinks import Sink, jsonl, sqlite
from consumer.sinks.stdout import StdoutSink
from tests.contracts.places import connect
from tests.unit.drivers import ListSink
from tests.unit.fakes import block, encode_dead_letter, line, shown
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


def lines(blocks: Iterator[Block]) -> bytes:
    return b"".join(block.lines for block in blocks)


@pytest.mark.parametrize("memory", [0, 5_000])
@pytest.mark.parametrize("room", range(0, 30_000, 1_500))
def test_a_full_disk_loses_no_row_and_repeats_none(disk: Disk, room: int, memory: int) -> None:
    """Wherever the disk becomes full: in the data, in the lines, or while memory moves to disk."""
    disk.room = room
    records = [b"%d" % (number // 3) * 50 for number in range(100)]
    full = Spool(memory)
    for first in range(0, 100, 5):
        made = Block(block(range(first, first + 5)).lines, 5, records[first : first + 5])
        try:
            full.append(made, 500)
        except SpoolUnavailable:
            until_it_works(disk, full.settle)
    assert lines(full.between(0, 100)) == b"".join(map(line, range(100)))
    assert lines(full.between(33, 71)) == b"".join(map(line, range(33, 71)))
    assert [full.data(number) for number in range(100)] == records
    full.close()


@pytest.mark.parametrize("data", [[b"a"] * 3, [b"a", b"b", b"c"]])
def test_a_block_that_is_half_written_is_written_again_to_the_same_place(disk: Disk, data: list[bytes]) -> None:
    """The file holds no part twice."""
    full, made = Spool(0), Block(block([1, 2, 3]).lines, 3, data)
    disk.room = len(made.lines) + 1
    with contextlib.suppress(SpoolUnavailable):
        full.append(made, 100)
    disk.room = 1 << 40
    full.settle()
    assert full._disk is not None
    assert os.fstat(full._disk._file.fileno()).st_size == len(made.lines) + len({*map(id, data)})
    assert (lines(full.between(0, 3)), [full.data(number) for number in range(3)]) == (made.lines, data)
    full.close()


@pytest.mark.parametrize("code", CODES)
def test_the_error_names_the_directory_and_what_to_do(disk: Disk, code: str) -> None:
    """It is retried, and counts as one cause for all shards."""
    disk.room, disk.error = 0, OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    full = Spool(0)
    says = rf"temporary directory {tempfile.gettempdir()}: {os.strerror(getattr(errno, code))}: free space .* TMPDIR"
    with pytest.raises(SpoolUnavailable, match=says) as caught:
        full.append(block([1]), 1)
    assert caught.value.cause == SpoolUnavailable.cause
    full.close()


def test_a_missing_temporary_directory_is_the_same_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The rows stay in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    full = Spool(10)
    with pytest.raises(SpoolUnavailable, match="missing: No such file"):
        full.append(block([1]), 100)
    assert shown(full.between(0, 1)) == ["1"]
    (tmp_path / "missing").mkdir()
    full.settle()
    assert shown(full.between(0, 1)) == ["1"]
    full.close()


def test_a_record_that_was_interrupted_is_completed_once(disk: Disk) -> None:
    """Its remaining pieces follow when there is room; until then there is no batch."""
    buffer, decoding = Buffer("shard", BatchLimits(), encode_dead_letter, memory=0), list[int]()

    def pieces() -> Iterator[Decoded]:
        for number in range(40):
            decoding.append(number)
            letter = DeadLetter(Reason.NOT_JSON, "no", EventLocation("stream", "shard", number, 0, 0, "key", 0.0), b"")
            first = number == 0
            yield Decoded(block([number], os.urandom(1_000)), [letter], (), first, first, 0, 1, Position.of(1), 0.0)

    disk.room = 20_000
    with pytest.raises(SpoolUnavailable):
        buffer.add(pieces(), 0.0)
    with pytest.raises(SpoolUnavailable):
        buffer.batch()
    assert len(decoding) < 20
    disk.room = 1 << 40
    batch = buffer.batch()
    letters, rows = batch.work
    assert shown(rows) == [str(number) for number in range(40)]
    assert shown(letters) == [f"not-json:{number}" for number in range(40)]
    assert (decoding, batch.tally.fetched) == ([*range(40)], 1)
    buffer.close()


def test_a_shard_waits_for_space_and_continues_at_the_same_place(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not read again from the checkpoint, and nothing is delivered twice."""
    monkeypatch.setattr(batching, "RECORD_MEMORY", 0)
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

        def __iter__(self) -> Iterator[Block]:
            yield Block(b'{"id":1,"value":"v"}\n', 1, [b"event"])
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
    data, spool = b"x" * 500_000, Spool(memory=0)
    for _ in range(2):
        spool.append(block([1] * 64, data), 1)
    assert spool.data(127) == data
    spool.close()
    assert write.call_count == 3  # the array and the lines of two blocks


def test_a_long_array_with_little_memory_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its rejected rows needs it, and another array follows."""
    spool, arrays = Spool(memory=0), [b"x" * 1_000, b"y" * 2_000, b"z"]
    for array in arrays:
        spool.append(block([1] * 10, array), 1)
    read = Mock(side_effect=os.pread)
    monkeypatch.setattr(os, "pread", read)
    assert [spool.data(number) for number in range(30)] == [array for array in arrays for _ in range(10)]
    assert read.call_count == 3
    spool.close()
