"""Write the log on a separate thread, without making any other code wait."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.telemetry.stderr import LineWriter, PrintedText, StandardError


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe of one page."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def dropped(count: int) -> str:
    return f"{count} lines dropped"


def read_until(descriptor: int, last: str, seconds: float = 10.0) -> list[str]:
    """Return the lines up to one that starts with `begin`."""
    text, until = b"", time.monotonic() + seconds
    while time.monotonic() < until and f"\n{last}" not in f"\n{text.decode()}":
        text += os.read(descriptor, 65536)
    return text.decode().splitlines()


def test_an_unread_log_blocks_nobody(pipe: tuple[int, int]) -> None:
    """Lines beyond the queue are dropped and counted. Lines in the queue arrive whole and in order."""
    reading, writing = pipe
    writer = LineWriter(writing, dropped, most=100)
    began = time.monotonic()
    for number in range(5000):
        writer.write(f"{number:05} {'x' * 200}")
    assert time.monotonic() - began < 2.0
    writer.flush(0.1)
    assert time.monotonic() - began < 3.0
    threading.Timer(0.5, writer.write, ["end"]).start()
    *lines, _ = read_until(reading, "end")
    kept = [line for line in lines if "dropped" not in line]
    assert all(len(line) == 206 for line in kept)
    assert kept == sorted(kept)
    assert sum(int(line.split()[0]) for line in lines if "dropped" in line) + len(kept) == 5000


def test_a_line_longer_than_the_pipe_is_written_whole(pipe: tuple[int, int]) -> None:
    """It is written in pieces as the reader reads."""
    reading, writing = pipe
    writer = LineWriter(writing, dropped)
    writer.write("y" * 50_000)
    writer.write("end")
    assert read_until(reading, "end") == ["y" * 50_000, "end"]


def test_a_non_blocking_pipe_loses_no_line(pipe: tuple[int, int]) -> None:
    """The writer waits after EAGAIN."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing, dropped)
    for number in range(1000):
        writer.write(f"{number:05} {'x' * 100}")
    writer.write("end")
    assert [line[:5] for line in read_until(reading, "end")[:-1]] == [f"{number:05}" for number in range(1000)]


def test_the_end_does_not_wait_for_a_descriptor_that_fails() -> None:
    """A full disk would not accept the lines within a second."""
    full = os.open("/dev/full", os.O_WRONLY)  # stays open, because its writer continues
    writer = LineWriter(full, dropped)
    writer.write("lost")
    began = time.monotonic()
    writer.flush(5.0)
    assert time.monotonic() - began < 1.0


def test_a_full_disk_delays_lines_without_tearing_one(tmp_path: Path) -> None:
    """The lines are written when there is space, here after the size limit rises."""
    code = (
        "import resource, signal, sys, time\n"
        "from consumer.telemetry.stderr import LineWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "writer = LineWriter(2, lambda count: f'{count} lines dropped', most=50)\n"
        "for number in range(100): writer.write(f'{number:03} ' + 'z' * 26)\n"
        "writer.flush(0.3)\n"
        "assert writer.failing\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "time.sleep(1.0)\n"
        "writer.flush(3.0)\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        subprocess.run([sys.executable, "-c", code], check=True, stderr=stderr, timeout=30)
    lines = log.read_text().splitlines()
    assert all(line.endswith("z" * 26) or "dropped" in line for line in lines)
    assert sum(int(line.split()[0]) for line in lines if "dropped" in line) + len(lines) - 1 == 100
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_signal_handler_may_write_during_any_code(pipe: tuple[int, int]) -> None:
    """There is no lock that the interrupted code could hold."""
    reading, writing = pipe
    writer = LineWriter(writing, dropped, most=100)
    heard = []

    def handle(*_: object) -> None:
        heard.append(1)
        writer.write("from a handler")

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    drain = threading.Thread(target=lambda: read_until(reading, "end"))
    drain.start()
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            writer.write("from the main thread")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    writer.flush(5.0)
    writer.write("end")
    drain.join(10.0)
    assert not drain.is_alive()
    assert len(heard) > 10


def test_a_forked_child_writes_its_own_lines() -> None:
    """It has no writer thread, and leaves the parent's lines to the parent."""
    code = (
        "import os, warnings\n"
        "from consumer.telemetry.stderr import LineWriter\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"  # Python 3.12 warns of a fork beside threads
        "writer = LineWriter(2, str)\n"
        "writer.write('parent')\n"
        "writer.flush()\n"
        "if not (child := os.fork()):\n"
        "    writer.write('child'); writer.flush(); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "writer.write('end'); writer.flush()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True, text=True)
    assert done.stderr.split() == ["parent", "child", "end"]


def test_without_a_thread_the_end_writes_the_waiting_lines(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them may say that no thread can be started."""
    reading, writing = pipe

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    writer = LineWriter(writing, dropped)
    writer.write("why")
    writer.flush(1.0)
    assert read_until(reading, "why") == ["why"]


def test_nothing_follows_the_last_line(tmp_path: Path) -> None:
    """Other threads log without a pause while the process ends."""
    with (tmp_path / "log").open("wb") as file:
        writer, ended = LineWriter(file.fileno(), dropped), threading.Event()

        def log() -> None:
            while not ended.is_set():
                writer.write("other")

        threads = [threading.Thread(target=log) for _ in range(4)]
        for thread in threads:
            thread.start()
        writer.finish("last", 5.0)
        ended.set()
        for thread in threads:
            thread.join()
        writer.flush(0.1)
    assert (tmp_path / "log").read_text().splitlines()[-1] == "last"


@pytest.mark.parametrize("as_json", [True, False])
def test_printed_text_becomes_lines(pipe: tuple[int, int], as_json: bool) -> None:
    """In JSON format, a line shows where something was printed, but not the text."""
    reading, writing = pipe
    stderr = StandardError(writing)
    stderr.choose(as_json)
    printed = PrintedText(stderr)
    print("a", "value", file=printed)
    print(file=printed)
    stderr.say("end")
    lines = read_until(reading, '{"event": "end"' if as_json else "end")
    if as_json:
        assert [json.loads(line)["event"] for line in lines] == ["stderr.printed", "end"]
        assert "value" not in str(lines)
    else:
        assert lines == ["a value", "", "end"]
