"""Whatever a command does and however it ends: what it leaves on standard error is JSON, line by line."""

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
    """Each line as what JSON is to everybody: jq knows no NaN either."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return [json.loads(line, parse_constant=refuse) for line in stderr.splitlines()]


def ended(directory: Path, command: Sequence[str], redirect: str = "") -> tuple[int, list[dict[str, Any]]]:
    """The exit code of a command in a shell with these redirections, and what it said."""
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
    """A process that waits for input, and is gone afterwards."""
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
    """A worker that has fetched records for a sink which is locked."""
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
def test_what_a_command_is_given_or_refused_leaves_json(
    tmp_path: Path, arguments: list[str], redirect: str, code: int
) -> None:
    """Input that is missing or wrong, output that is closed or full."""
    found, told = ended(tmp_path, [*COMMAND, *arguments], redirect)
    if "| true" not in redirect:  # else it may or may not be done before its reader is gone
        assert found == code, told
    assert not any("unexpected" in line["event"] for line in told), told
    if arguments[:1] == ["doctor"] and not redirect:
        assert told == []  # what it finds is on standard output
    elif code == 2:
        assert told[-1]["exit_code"] == 2, told


@pytest.mark.parametrize("url", [[], ["nonsense"], ["http://127.0.0.1:9/livez"], ["http://127.0.0.1:x/"], ["a", "b"]])
def test_the_probe_says_what_is_wrong_in_one_json_line(tmp_path: Path, url: list[str]) -> None:
    """As the worker beside it does."""
    code, told = ended(tmp_path, [*PROBE, *url])
    assert (code, [line["level"] for line in told]) == (1, ["error"])


def test_the_demo_is_json_on_stderr_when_it_succeeds_and_when_it_cannot(tmp_path: Path) -> None:
    """Its worker's lines included; a second one in the same place meets another stream."""
    command = [*COMMAND, "demo", "--directory", "demo"]
    code, told = ended(tmp_path, command)
    assert code == 0, told
    assert any(line.get("written") for line in told)
    code, told = ended(tmp_path, command)
    assert (code, told[-1]["exit_code"]) == (2, 2)
    code, told = ended(tmp_path, [*COMMAND, "demo", "--directory", "other"], ">/dev/full")
    assert (code, told[-1]["event"]) == (2, "call-consumer: standard output: No space left on device")


def test_publish_and_doctor_are_json_on_a_stream_that_works(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """What they show is on stdout."""
    there = [STREAM, "--endpoint-url", endpoint]
    code, told = ended(tmp_path, [*COMMAND, "publish", *there, "--count", "3"])
    assert (code, told) == (0, [])
    code, told = ended(tmp_path, [*COMMAND, "doctor", *there, *SINKS])
    assert (code, [line for line in told if line["level"] != "info"]) == (0, [])
    code, told = ended(tmp_path, [*COMMAND, "publish", "other", *there[1:], "--count", "3"])
    assert (code, told[-1]["exit_code"]) == (2, 2)


@pytest.mark.parametrize("place", [WHILE_IT_RUNS, "consumer.cli.run.load"])
def test_a_defect_ends_it_with_1_and_json(kinesis: Any, endpoint: str, tmp_path: Path, place: str) -> None:
    """While it runs, and before; type and place, and no text, which may hold a value."""
    code = DEFECT.format(place=place)
    found, told = ended(tmp_path, [sys.executable, "-c", code, *worker(tmp_path, endpoint, *SINKS)[3:]])
    assert found == 1, told
    assert any(line.get("error") == "KeyError" or "KeyError" in line["event"] for line in told), told
    assert "secret" not in str(told)


def test_dead_letters_that_fail_a_run_leave_json(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Exit code 1, with the summary last."""
    kinesis.put_record(StreamName=STREAM, PartitionKey="k", Data=b"no event")
    command = worker(tmp_path, endpoint, *SINKS, "--until-caught-up", "--fail-on-dead-letters")
    code, told = ended(tmp_path, command)
    assert (code, told[-1]["exit_code"], told[-1]["dead_letters"]) == (1, 1, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_json(
    kinesis: Any, endpoint: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The first one waits for a sink that is locked."""
    with stuck(kinesis, tmp_path, *worker(tmp_path, endpoint, *SINKS, "--batch-age", "0.2")) as process:
        process.send_signal(number)
        has_said(tmp_path, "worker.draining")
        process.send_signal(number)
        assert process.wait(20) == code
    assert said(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_leaves_something_behind_is_3_in_json(
    kinesis: Any, endpoint: str, tmp_path: Path, number: signal.Signals
) -> None:
    """What was fetched is not delivered."""
    command = worker(tmp_path, endpoint, *SINKS, "--batch-age", "0.2", "--shutdown-timeout", "2")
    with stuck(kinesis, tmp_path, *command) as process:
        process.send_signal(number)
        assert process.wait(20) == 3
    assert said(tmp_path)[-1]["exit_code"] == 3


def test_a_command_that_waits_for_input_ends_quietly_by_a_signal(tmp_path: Path) -> None:
    """Ctrl-C in `decode`: 130, and nothing that is no JSON."""
    with begun(tmp_path, [*COMMAND, "decode", "-"]) as process:
        time.sleep(1.5)  # a real process: until it reads
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    said(tmp_path)


def test_rows_that_nobody_reads_any_more_end_the_run_with_0_in_json(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """As with `| head`."""
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
