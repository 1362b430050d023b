"""Write whole lines to an open file that other writers use, too."""

import errno
import fcntl
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ConfigurationError, OutputClosed, SinkUnavailable
from consumer.files.outputs import output_of
from consumer.pipeline.batching import Part
from consumer.pipeline.spool import Spool
from consumer.records import Block
from consumer.sinks.stdout import StdoutSink
from consumer.telemetry.stderr import LineWriter


def batch(*numbers: int, size: int = 10) -> Part:
    """Return rows with these numbers, each in a block with a line of about `size` bytes."""
    spool = Spool()
    for number in numbers:
        line = json.dumps({"n": number, "x": "x" * size}).encode() + b"\n"
        spool.append(Block(line, 1), len(line))
    return Part("batch", spool, 0, len(numbers))


def numbers(written: bytes) -> list[int | None]:
    """Return the number in each line, or None for a line that is not JSON."""
    found: list[int | None] = []
    for line in written.splitlines():
        try:
            found.append(json.loads(line)["n"])
        except ValueError:
            found.append(None)
    return found


class Pipe:
    """A pipe and what its reader received. `read` runs on a separate thread."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        self.got = b""

    def read(self, most: int = 1000) -> None:
        while data := os.read(self.reading, most):
            self.got += data

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out"


def read_while(pipe: Pipe, write: Callable[[], object]) -> None:
    """Run `write` while the pipe is read, then let the reader read to the end."""
    reader = threading.Thread(target=pipe.read)
    reader.start()
    write()
    os.close(pipe.writing)
    reader.join(10)


def test_a_write_to_a_full_non_blocking_pipe_continues_where_it_stopped(pipe: Pipe) -> None:
    """Each line arrives once and whole, although the pipe holds only a part of the batch."""
    os.set_blocking(pipe.writing, False)
    sink = StdoutSink(pipe.writing)
    read_while(pipe, lambda: sink.write(batch(*range(300), size=200)))
    assert numbers(pipe.got) == list(range(300))


def test_rows_and_dead_letters_on_one_pipe_never_tear_lines(pipe: Pipe) -> None:
    """Two sinks use two descriptors of one open file, and each write is larger than the pipe."""
    again = os.dup(pipe.writing)
    sinks = [StdoutSink(pipe.writing), StdoutSink(again)]

    def write(sink: StdoutSink, first: int) -> None:
        for number in range(first, first + 40):
            sink.write(batch(number, size=9000))

    def both() -> None:
        threads = [threading.Thread(target=write, args=(sink, 1000 * n)) for n, sink in enumerate(sinks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        os.close(again)

    read_while(pipe, both)
    assert sorted(n for n in numbers(pipe.got) if n is not None) == [*range(40), *range(1000, 1040)]
    assert None not in numbers(pipe.got)


def test_log_lines_on_the_same_pipe_never_tear_a_row(pipe: Pipe) -> None:
    """Examples are `2>&1`, and systemd, which uses one socket for both descriptors."""
    sink, log = StdoutSink(pipe.writing), LineWriter(os.dup(pipe.writing), lambda count: f'{{"n": {count}}}')

    def both() -> None:
        for number in range(40):
            log.write(f'{{"n": {1000 + number}}}')
            sink.write(batch(number, size=9000))
        log.flush(10)
        os.close(log._fd)

    read_while(pipe, both)
    assert sorted(n for n in numbers(pipe.got) if n is not None) == [*range(40), *range(1000, 1040)]
    assert None not in numbers(pipe.got)


def test_a_log_line_after_a_torn_row_starts_on_a_new_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise neither could be parsed."""
    with file.open("ab") as output:
        sink, log = StdoutSink(output.fileno()), LineWriter(output.fileno(), lambda count: f'{{"n": {count}}}')
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing_after(30, OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(SinkUnavailable):
                sink.write(batch(1, 2, 3))
        log.write('{"n": 100}')
        log.flush(10)
    assert numbers(file.read_bytes()) == [1, None, 100]


def failing_after(room: int, error: OSError) -> Callable[[int, Any], int]:
    """Make writes fail after `room` more bytes."""
    real = os.write
    left = [room]

    def write(descriptor: int, data: Any) -> int:
        if not left[0]:
            raise error
        taken = real(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    return write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
def test_any_sink_ends_a_torn_line_before_it_writes(file: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A dead letter after half a row starts on a new line."""
    with file.open("ab") as output:
        rows, letters = StdoutSink(output.fileno()), StdoutSink(output.fileno())
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing_after(30, OSError(code, os.strerror(code))))
            with pytest.raises(SinkUnavailable, match=os.strerror(code)):
                rows.write(batch(1, 2, 3))
        letters.write(batch(100))
        rows.write(batch(1, 2, 3))
    assert numbers(file.read_bytes()) == [1, None, 100, 1, 2, 3]


def test_a_failure_between_two_lines_leaves_no_empty_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete line needs no further line break."""
    line = len(json.dumps({"n": 1, "x": "x" * 10})) + 1
    with file.open("ab") as output:
        sink = StdoutSink(output.fileno())
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing_after(line, OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(SinkUnavailable):
                sink.write(batch(1, 2))
        sink.write(batch(1, 2))
    assert file.read_bytes().count(b"\n") == 3
    assert numbers(file.read_bytes()) == [1, 1, 2]


@pytest.mark.parametrize(
    ("before", "after"), [(b'{"n": 1', [None, 2]), (b'{"n": 1}\n', [1, 2]), (b"", [2])], ids=["torn", "whole", "empty"]
)
@pytest.mark.parametrize("appends", [True, False], ids=["appends", "inherited offset"])
def test_a_line_torn_by_a_killed_worker_is_ended_by_the_next_worker(
    file: Path, before: bytes, after: list[int | None], appends: bool
) -> None:
    """Examples are `run >> rows.jsonl`, and several runs with one redirection."""
    file.write_bytes(before)
    descriptor = os.open(file, os.O_WRONLY | (os.O_APPEND if appends else 0))
    os.lseek(descriptor, 0, os.SEEK_END)
    StdoutSink(descriptor).write(batch(2))
    os.close(descriptor)
    assert numbers(file.read_bytes()) == after


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_closes_the_pipe_ends_the_output(pipe: Pipe, blocking: bool) -> None:
    """This also ends a wait for the reader."""
    os.set_blocking(pipe.writing, blocking)
    sink = StdoutSink(pipe.writing)
    gone = threading.Timer(0.1, os.close, [pipe.reading])
    gone.start()
    with pytest.raises(OutputClosed):
        sink.write(batch(*range(300), size=200))
    gone.join()


def test_a_regular_file_is_flushed_to_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpointed rows then survive a crash of the machine."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with file.open("ab") as output:
        StdoutSink(output.fileno()).write(batch(1))
        assert synced == [output.fileno()]


def test_a_read_only_standard_output_is_a_configuration_error(pipe: Pipe) -> None:
    """`1<file` opens it like this, and no retry helps."""
    with pytest.raises(ConfigurationError, match="can only be read"):
        StdoutSink(pipe.reading).check()
    StdoutSink(pipe.writing).check()


def test_the_state_of_an_open_file_is_dropped_with_its_last_sink(file: Path) -> None:
    """The system may reuse its inode for another file."""
    with file.open("ab") as output:
        held = output_of(output.fileno())
        assert output_of(output.fileno()) is held
        seen = weakref.ref(held)
        del held
        assert seen() is None
