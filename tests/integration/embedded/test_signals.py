"""Signal real processes in different states, with an embedded Kinesis."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.events import numbered_event
from tests.integration.workers import (
    STREAM,
    environment,
    in_sqlite,
    logged,
    start,
    wait_until,
)

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
SQLITE = ("--sink", "sqlite:rows.db", "--dead-letters", "sqlite:letters.db")


def put(kinesis: Any, numbers: range) -> None:
    for number in numbers:
        kinesis.put_record(StreamName=STREAM, PartitionKey="key", Data=numbered_event(number))


@contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Lock a database with a writing transaction."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def owners(directory: Path) -> list[str | None]:
    with closing(sqlite3.connect(directory / "call-consumer.db")) as database:
        return [row[0] for row in database.execute("SELECT owner FROM leases")]


def test_a_sink_that_recovers_during_the_drain_gets_all_fetched_records(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """The exit code is 0."""
    put(kinesis, range(10))
    worker = start(tmp_path, endpoint, *SQLITE)
    wait_until(lambda: logged(tmp_path).count("lease.taken") == 2)
    wait_until(lambda: len(in_sqlite(tmp_path)) == 10)
    with locked(tmp_path / "rows.db"):
        put(kinesis, range(10, 20))
        wait_until(lambda: "shard.waiting" in logged(tmp_path))
        worker.terminate()
        wait_until(lambda: "worker.draining" in logged(tmp_path))
        time.sleep(1.0)  # a real process against a real clock: let it fail
        assert worker.poll() is None
    assert worker.wait(15) == 0, logged(tmp_path)
    assert len(in_sqlite(tmp_path)) == 20
    assert "batch.dropped" not in logged(tmp_path)
    assert owners(tmp_path) == [None, None]


def test_a_sink_that_stays_down_exits_with_3_and_the_leases_are_released(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """Another worker can continue at once."""
    worker = start(tmp_path, endpoint, "--sink", "jsonl:rows", "--shutdown-timeout", "4")
    wait_until(lambda: logged(tmp_path).count("lease.taken") == 2)
    (tmp_path / "rows").rename(tmp_path / "away")
    (tmp_path / "rows").touch()  # not a directory: every write fails
    put(kinesis, range(10))
    wait_until(lambda: "shard.waiting" in logged(tmp_path))
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(15) == 3, logged(tmp_path)
    assert time.monotonic() - began < 6
    assert logged(tmp_path).count("batch.dropped") == 1
    assert owners(tmp_path) == [None, None]


def test_an_unavailable_lease_table_does_not_delay_the_deadline(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """The leases expire."""
    worker = start(tmp_path, endpoint, *SQLITE, "--shutdown-timeout", "2")
    wait_until(lambda: "lease.taken" in logged(tmp_path))
    with locked(tmp_path / "call-consumer.db"):
        began = time.monotonic()
        worker.terminate()
        assert worker.wait(15) == 3, logged(tmp_path)
        assert time.monotonic() - began < 5


def test_an_unread_pipe_does_not_delay_the_deadline(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Every thread hangs in a write."""
    for first in range(0, 2000, 500):
        entries = [{"PartitionKey": "key", "Data": numbered_event(number)} for number in range(first, first + 500)]
        kinesis.put_records(StreamName=STREAM, Records=entries)
    reading, writing = os.pipe()
    worker = start(tmp_path, endpoint, "--sink", "stdout:", "--shutdown-timeout", "2", stdout=writing)
    wait_until(lambda: "lease.taken" in logged(tmp_path))
    time.sleep(1.5)  # until the pipe is full
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(15) == 3, logged(tmp_path)
    assert time.monotonic() - began < 5
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(("arguments", "code"), [(("--until-caught-up", "--max-leases", "1"), 3), ((), 0)])
def test_a_signal_that_stops_a_finite_run_exits_with_3(
    kinesis: Any, endpoint: str, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    """Not all records are read, although all fetched ones are delivered. An endless run exits with 0."""
    worker = start(tmp_path, endpoint, *SQLITE, *arguments)
    wait_until(lambda: "lease.taken" in logged(tmp_path))
    worker.send_signal(signal.SIGINT)
    assert worker.wait(15) == code, logged(tmp_path)


@pytest.mark.parametrize("command", [["-m", "consumer"], ["-c", "from consumer.__main__ import main; main()"]])
def test_a_signal_at_any_time_ends_the_process_quietly_and_soon(
    kinesis: Any, endpoint: str, tmp_path: Path, command: list[str]
) -> None:
    """It ends at once while modules load, and in order later, without a traceback or a hang."""
    rng = random.Random(1)
    for attempt in range(5):
        number, code = rng.choice(SIGNALS)
        arguments = [*command, "run", STREAM, "--endpoint-url", endpoint, *SQLITE]
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *arguments],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        for line in process.stderr:  # until the entry point has installed its handler and loads the next module
            if b"typer" in line:
                break
        time.sleep(rng.uniform(0.0, 1.5) if attempt else 0.0)
        process.send_signal(number)
        said = process.communicate(timeout=15)[1]
        assert process.returncode in (0, code), said
        assert b"Traceback" not in said


def in_session(leader: int) -> list[int]:
    """Return the running processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize(
    ("number", "code", "stage"),
    [(*SIGNALS[0], b"call-consumer run"), (*SIGNALS[1], b"call-consumer run"), (*SIGNALS[1], b"1.")],
)
def test_the_demo_ends_its_worker(tmp_path: Path, number: signal.Signals, code: int, stage: bytes) -> None:
    """No orphan stays, and there is no traceback."""
    command = [sys.executable, "-u", "-m", "consumer", "demo", "--directory", str(tmp_path / "demo")]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        while stage not in (line := demo.stdout.readline()):
            assert line, "it ended before"
        time.sleep(0.3)  # a real process: let the worker start
        demo.send_signal(number)
        said = demo.communicate(timeout=20)[1]
    assert (demo.returncode, b"Traceback" in said) == (code, False), said
    assert in_session(demo.pid) == []
