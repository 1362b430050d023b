"""Check that every line on stderr is JSON, for each command and each way to end."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import STREAM, environment, in_sqlite, put, wait_until, worker

COMMAND = [sys.executable, "-m", "consumer"]
PROBE = [sys.executable, "-m", "consumer.telemetry.probe"]
SINKS = ["--sink", "sqlite:rows.db", "--dead-letters", "sqlite:rows.db"]
DAEMON = ["kcl-daemon", "calls", *SINKS]
WHILE_IT_RUNS = "consumer.fleet.balancer.Balancer.step"
DEFECT = """
import sys
from consumer.__main__ import main
import consumer.fleet.balancer, consumer.cli.run
def fail(*_): raise KeyError("secret")
{place} = fail
sys.argv[0] = "call-consumer"
main()
"""


def lines(stderr: bytes) -> list[dict[str, Any]]:
    """Parse each line with strict JSON, which has no NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return [json.loads(line, parse_constant=refuse) for line in stderr.splitlines()]


def ended(directory: Path, command: Sequence[str], redirect: str = "") -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and the output of a command in a shell with these redirections."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirect}; exit "${{PIPESTATUS[0]}}"', "bash", *command],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
        check=False,
    )
    return done.returncode, lines(done.stderr)


@contextmanager
def begun(directory: Path, command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that waits for input, and end it afterwards."""
    with (
        (directory / "stderr").open("wb") as stderr,
        subprocess.Popen(
            command,
            cwd=directory,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def stuck(kinesis: Any, directory: Path, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a worker that has fetched records for a locked sink."""
    with begun(directory, command) as process:
        has_said(directory, "lease.taken")
        with closing(sqlite3.connect(directory / "rows.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            put(kinesis, range(10))
            has_said(directory, "shard.waiting")
            yield process


def said(directory: Path) -> list[dict[str, Any]]:
    return lines((directory / "stderr").read_bytes())


def has_said(directory: Path, event: str) -> None:
    wait_until(lambda: event.encode() in (directory / "stderr").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "redirect", "code"),
    [
        ([], "", 2),
        (["decode", "-"], "<&-", 2),
        (["decode", "-"], "<<< nonsense", 1),
        (["decode", "-"], "<<< nonsense >/dev/full", 2),
        (["decode", "-"], "<<< nonsense >&-", 1),
        (["decode", "."], "", 2),
        (["--version"], ">/dev/full", 2),
        (["run", "--help"], ">/dev/full", 2),
        (["run", "--help"], "| true", 0),
        (["doctor", "calls", "--endpoint-url", "http://127.0.0.1:9", *SINKS], "", 2),
        (["doctor", "calls", "--endpoint-url", "http://127.0.0.1:9", *SINKS], ">/dev/full", 2),
        (DAEMON, "<&-", 2),
        (DAEMON, ">&-", 2),
        (DAEMON, "<<< garbage", 1),
        ([*DAEMON, "--properties"], ">/dev/full", 2),
    ],
)
def test_a_command_with_bad_input_or_output_writes_json(
    tmp_path: Path, arguments: list[str], redirect: str, code: int
) -> None:
    """Input is missing or invalid, or output is closed or full."""
    found, told = ended(tmp_path, [*COMMAND, *arguments], redirect)
    if "| true" not in redirect:  # otherwise it may end before its reader closes the pipe
        assert found == code, told
    assert not any("unexpected" in line["event"] for line in told), told
    if arguments[:1] == ["doctor"] and not redirect:
        assert told == []  # the findings are on stdout
    elif code == 2:
        assert told[-1]["exit_code"] == 2, told


@pytest.mark.parametrize("url", [[], ["nonsense"], ["http://127.0.0.1:9/livez"], ["http://127.0.0.1:x/"], ["a", "b"]])
def test_the_probe_writes_its_error_as_one_json_line(tmp_path: Path, url: list[str]) -> None:
    """The worker beside it does the same."""
    code, told = ended(tmp_path, [*PROBE, *url])
    assert (code, [line["level"] for line in told]) == (1, ["error"])


def test_the_demo_writes_json_when_it_succeeds_and_when_it_fails(tmp_path: Path) -> None:
    """This includes the lines of its worker. A second demo in the same place finds another stream."""
    command = [*COMMAND, "demo", "--directory", "demo"]
    code, told = ended(tmp_path, command)
    assert code == 0, told
    assert any(line.get("written") for line in told)
    code, told = ended(tmp_path, command)
    assert (code, told[-1]["exit_code"]) == (2, 2)
    code, told = ended(tmp_path, [*COMMAND, "demo", "--directory", "other"], ">/dev/full")
    assert (code, told[-1]["event"]) == (2, "call-consumer: standard output: No space left on device")


def test_publish_and_doctor_write_json_on_a_working_stream(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Their results are on stdout."""
    there = [STREAM, "--endpoint-url", endpoint]
    code, told = ended(tmp_path, [*COMMAND, "publish", *there, "--count", "3"])
    assert (code, told) == (0, [])
    code, told = ended(tmp_path, [*COMMAND, "doctor", *there, *SINKS])
    assert (code, [line for line in told if line["level"] != "info"]) == (0, [])
    code, told = ended(tmp_path, [*COMMAND, "publish", "other", *there[1:], "--count", "3"])
    assert (code, told[-1]["exit_code"]) == (2, 2)


@pytest.mark.parametrize("place", [WHILE_IT_RUNS, "consumer.cli.run.load"])
def test_a_defect_exits_with_1_and_writes_json(kinesis: Any, endpoint: str, tmp_path: Path, place: str) -> None:
    """It happens before or during the run. The line has type and location, but no text."""
    code = DEFECT.format(place=place)
    found, told = ended(tmp_path, [sys.executable, "-c", code, *worker(tmp_path, endpoint, *SINKS)[3:]])
    assert found == 1, told
    assert any(line.get("error") == "KeyError" or "KeyError" in line["event"] for line in told), told
    assert "secret" not in str(told)


def test_dead_letters_that_fail_a_run_write_json(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """The exit code is 1, and the summary is the last line."""
    kinesis.put_record(StreamName=STREAM, PartitionKey="k", Data=b"no event")
    command = worker(tmp_path, endpoint, *SINKS, "--until-caught-up", "--fail-on-dead-letters")
    code, told = ended(tmp_path, command)
    assert (code, told[-1]["exit_code"], told[-1]["dead_letters"]) == (1, 1, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_writes_json(
    kinesis: Any, endpoint: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The first one waits for a locked sink."""
    with stuck(kinesis, tmp_path, *worker(tmp_path, endpoint, *SINKS, "--batch-age", "0.2")) as process:
        process.send_signal(number)
        has_said(tmp_path, "worker.draining")
        process.send_signal(number)
        assert process.wait(20) == code
    assert said(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_with_undelivered_records_exits_with_3_and_writes_json(
    kinesis: Any, endpoint: str, tmp_path: Path, number: signal.Signals
) -> None:
    """Fetched records are not delivered."""
    command = worker(tmp_path, endpoint, *SINKS, "--batch-age", "0.2", "--shutdown-timeout", "2")
    with stuck(kinesis, tmp_path, *command) as process:
        process.send_signal(number)
        assert process.wait(20) == 3
    assert said(tmp_path)[-1]["exit_code"] == 3


def test_a_signal_ends_a_command_that_waits_for_input_without_output(tmp_path: Path) -> None:
    """Ctrl-C in `decode` exits with 130."""
    with begun(tmp_path, [*COMMAND, "decode", "-"]) as process:
        time.sleep(1.5)  # a real process: until it reads
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    said(tmp_path)


def test_a_closed_reader_of_rows_exits_with_0_and_writes_json(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """`| head` closes the pipe."""
    put(kinesis, range(20))
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        worker(tmp_path, endpoint, "--batch-age", "0.2"),
        cwd=tmp_path,
        env=environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert lines(done.stderr)[-1]["exit_code"] == 0
    assert not (tmp_path / "rows.db").exists() or in_sqlite(tmp_path) == []
