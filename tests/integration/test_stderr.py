"""Check the stderr of real processes: every line is JSON, and a broken stderr never affects the work."""

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import environment, in_sqlite, put, wait_until, worker

COMMAND = [sys.executable, "-m", "consumer"]
SINKS = ["--sink", "sqlite:rows.db", "--dead-letters", "sqlite:rows.db"]


def lines(stderr: bytes) -> list[dict[str, Any]]:
    """Return each line parsed as JSON. Fail on any other line."""
    return [json.loads(line) for line in stderr.splitlines()]


def done(directory: Path, command: Sequence[str], **env: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        command, cwd=directory, env=environment() | env, capture_output=True, timeout=90, check=False, input=b""
    )


@pytest.mark.parametrize(
    ("arguments", "env", "code"),
    [
        ([], {}, 2),
        (["nonsense"], {}, 2),
        (["run"], {}, 2),
        (["run", "calls", "--nope"], {}, 2),
        (["run", "calls", "extra"], {}, 2),
        (["run", "calls", "--sink", "nothing:"], {}, 2),
        (["run", "calls", "--config", "missing.toml"], {}, 2),
        (["run", "calls", "--log-format", "xml"], {}, 2),
        (["run", "calls"], {"CALL_CONSUMER_THREADS": "many"}, 2),
        (["run", "calls"], {"CALL_CONSUMER_NOPE": "1"}, 2),
        (["doctor"], {}, 2),
        (["doctor", "calls", "--endpoint-url", "http://127.0.0.1:9", "--nope"], {}, 2),
        (["decode", "missing.json"], {}, 2),
        (["decode", "--nope"], {}, 2),
        (["decode", "-"], {}, 1),
        (["publish"], {}, 2),
        (["publish", "calls", "--count", "0"], {}, 2),
        (["publish", "calls", "--count", "1", "--endpoint-url", "http://127.0.0.1:9"], {}, 2),
        (["demo", "--nope"], {}, 2),
        (["kcl-daemon"], {}, 2),
        (["kcl-daemon", "calls"], {}, 2),
        (["kcl-daemon", "calls", *SINKS], {}, 0),
        (["--help"], {}, 0),
        (["--version"], {}, 0),
    ],
)
def test_every_command_and_every_end_writes_json_lines(
    tmp_path: Path, arguments: list[str], env: dict[str, str], code: int
) -> None:
    """Without a terminal, JSON is the default. A failure has its reason and exit code."""
    ended = done(tmp_path, [*COMMAND, *arguments], **env)
    said = lines(ended.stderr)
    assert ended.returncode == code, said
    if code == 2:
        assert said[-1]["exit_code"] == code
        assert said[-1]["event"].startswith("call-consumer: ")


@pytest.mark.parametrize(
    ("arguments", "env", "as_json"),
    [
        (["run", "--log-format", "console"], {}, False),
        (["run", "--log-format=console"], {}, False),
        (["run"], {"CALL_CONSUMER_LOG_FORMAT": "console"}, False),
        (["run", "--config", "console.toml"], {}, False),
        (["run"], {"CALL_CONSUMER_CONFIG": "console.toml"}, False),
        (["run", "--log-format", "json"], {"CALL_CONSUMER_LOG_FORMAT": "console"}, True),
        (["run", "--log-format"], {}, True),
        (["nonsense"], {"CALL_CONSUMER_LOG_FORMAT": "console"}, False),
    ],
)
def test_a_usage_error_has_the_chosen_format(
    tmp_path: Path, arguments: list[str], env: dict[str, str], as_json: bool
) -> None:
    """The format is known before the settings are loaded."""
    (tmp_path / "console.toml").write_text('log-format = "console"')
    ended = done(tmp_path, [*COMMAND, *arguments], **env)
    assert ended.returncode == 2
    if as_json:
        assert lines(ended.stderr)[-1]["exit_code"] == 2
    else:
        assert ended.stderr.startswith(b"call-consumer: ")


@pytest.mark.parametrize("module", ["typer", "pydantic", "structlog", "botocore"])
def test_a_failed_import_is_one_json_line(tmp_path: Path, module: str) -> None:
    """A damaged installation fails like this."""
    code = f"import sys; sys.modules[{module!r}] = None; from consumer.__main__ import main; main()"
    ended = done(tmp_path, [sys.executable, "-c", code, "run", "calls", *SINKS])
    assert ended.returncode == 1, ended.stderr
    [line] = lines(ended.stderr)
    assert line["event"].startswith("call-consumer: unexpected: ModuleNotFoundError")


def test_output_of_other_code_becomes_json_without_values(tmp_path: Path) -> None:
    """It includes logs, warnings, prints, and errors of threads and finalizers."""
    (tmp_path / "told.py").write_text(
        "import logging, sys, threading, warnings\n"
        "from consumer.telemetry import logs\n"
        "logs.begin([])\n"
        "class Odd:\n"
        "    def __del__(self): raise ValueError('secret')\n"
        "def fail(): raise KeyError('secret')\n"
        "log = logging.getLogger('botocore.credentials')\n"
        "log.info('Found it.')\n"
        "log.warning('Refreshing failed in %s, %d tries', 'secret', 3)\n"
        "try: fail()\n"
        "except KeyError as error:\n"
        "    log.warning('It failed.', exc_info=True)\n"
        "    log.error(error)\n"
        "    log.error(f'It printed: {error}')\n"
        "    log.error('%d', 'secret')\n"
        "warnings.warn('secret')\n"
        "print('secret\\nsecret', file=sys.stderr)\n"
        "thread = threading.Thread(target=fail, name='mine'); thread.start(); thread.join()\n"
        "Odd()\n"
        "logs.flush()\n"
        "raise RuntimeError('secret')\n"
    )
    ended = done(tmp_path, [sys.executable, "told.py"])
    said = lines(ended.stderr)
    assert b"secret" not in ended.stderr
    assert said[0]["event"] == "Refreshing failed in …, 3 tries"
    assert said[0]["logger"] == "botocore.credentials"
    assert (said[1]["event"], said[1]["error"], said[1]["where"]) == ("It failed.", "KeyError", "told.py:6")
    assert [line["where"] for line in said[2:4]] == ["told.py:13", "told.py:14"]
    assert said[4]["event"] == "%d"
    assert said[5]["category"] == "UserWarning"
    assert said[6]["event"] == "stderr.printed"
    assert said[7]["event"] == "thread mine ended: KeyError at told.py:6"
    assert said[8]["event"] == "ignored: ValueError at told.py:5"
    assert [line["level"] for line in said[:5]] == ["warning", "warning", "error", "error", "error"]


def test_a_run_writes_json_up_to_its_last_line(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """This holds for its summary, with debug level and colour requested."""
    put(kinesis, range(20))
    command = worker(tmp_path, endpoint, *SINKS, "--until-caught-up", "--log-level", "debug")
    ended = done(tmp_path, command, FORCE_COLOR="1")
    assert ended.returncode == 0, ended.stderr
    said = lines(ended.stderr)
    assert said[-1]["written"] == 20
    assert said[-1]["exit_code"] == 0
    events = {line["event"] for line in said}
    assert {"worker.started", "shard.fetched", "shard.decoded", "batch.delivered", "worker.draining"} <= events
    assert b"CA0000" not in ended.stderr


def test_a_signal_ends_a_run_with_json_lines(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """The first signal drains, the second one ends the process at once."""
    for twice, code in ((False, 0), (True, 143)):
        process = running(tmp_path, worker(tmp_path, endpoint, *SINKS))
        assert process.stderr is not None
        while b"worker.started" not in process.stderr.readline():
            pass
        process.terminate()
        if twice:
            os.kill(process.pid, signal.SIGTERM)
        with process.stderr:
            lines(process.stderr.read())
        assert process.wait(30) in (code, 0)  # the process may end before the second signal


def running(directory: Path, command: Sequence[str], stderr: Any = subprocess.PIPE, **more: Any) -> Any:
    return subprocess.Popen(
        command, cwd=directory, env=environment(), stdout=subprocess.DEVNULL, stderr=stderr, bufsize=0, **more
    )


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """Return a full pipe that no process reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"\n" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("how", ["unread", "unread, not blocking", "/dev/full", "closed", "reader gone", "closed all"])
def test_a_blocked_stderr_changes_nothing_else(
    kinesis: Any, endpoint: str, tmp_path: Path, full_pipe: tuple[int, int], how: str
) -> None:
    """Rows are written, the lease is released, signals work, and the exit code is right."""
    put(kinesis, range(50))
    command = worker(tmp_path, endpoint, *SINKS, "--log-level", "debug", "--batch-age", "0.2")
    if how == "/dev/full":
        with open("/dev/full", "wb") as full:
            process = running(tmp_path, command, full)
    elif how == "reader gone":
        reading, writing = os.pipe()
        process = running(tmp_path, command, writing)
        os.close(writing)
        os.close(reading)
    elif how.startswith("closed"):
        closes = "2>&-" if how == "closed" else "0<&- 2>&-"
        process = running(tmp_path, ["bash", "-c", f'exec "$@" {closes}', "bash", *command], None)
    else:
        os.set_blocking(full_pipe[1], how == "unread")
        process = running(tmp_path, command, full_pipe[1])
    try:
        wait_until(lambda: (tmp_path / "rows.db").exists() and len(rows(tmp_path)) == 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
    database = sqlite3.connect(tmp_path / "call-consumer.db")
    assert database.execute("SELECT count(*) FROM leases WHERE owner IS NOT NULL").fetchone() == (0,)
    database.close()


def rows(directory: Path) -> list[str]:
    try:
        return in_sqlite(directory)
    except sqlite3.OperationalError:
        return []


def test_dropped_lines_are_counted_once_stderr_is_read(tmp_path: Path) -> None:
    """The other lines arrive whole, and with the count they add up."""
    (tmp_path / "told.py").write_text(
        "import sys, time\n"
        "from consumer.telemetry import logs\n"
        "logs.begin([])\n"
        "began = time.monotonic()\n"
        "for number in range(20000): logs.say('line ' + 'x' * 200, fields={'number': number})\n"
        "took = time.monotonic() - began\n"
        "print(took, flush=True)\n"
        "sys.stdin.readline()\n"
        "logs.flush()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "told.py"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    assert float(process.stdout.readline()) < 10
    time.sleep(0.2)
    said = []
    while select.select([process.stderr], [], [], 2.0)[0]:
        line = process.stderr.readline()
        if not line:
            break
        said.append(json.loads(line))
    process.stdin.write(b"\n")
    process.stdin.flush()
    said += lines(process.stderr.read())
    assert process.wait(10) == 0
    process.stdin.close()
    process.stdout.close()
    process.stderr.close()
    dropped = sum(line.get("dropped", 0) for line in said)
    assert dropped > 10_000
    assert dropped + sum("number" in line for line in said) == 20_000


def test_a_closed_reader_of_rows_and_log_ends_the_run(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """With `2>&1 | head`, the log fails first. The rows must still notice the closed pipe."""
    put(kinesis, range(20))
    command = worker(tmp_path, endpoint, "--log-level", "debug", "--batch-age", "0.2")
    reading, writing = os.pipe()
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=writing, stderr=writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.readline()
    time.sleep(2)
    put(kinesis, range(20, 40))
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
