"""Report configuration errors and missing services in one line that says what to do, with exit code 2."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import CREDENTIALS, STREAM, WITHOUT_COMPILED_FILES, environment, worker

BARE = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
BARE |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}


def started(directory: Path, endpoint: str, *arguments: str, given: dict[str, str] | None = None) -> Any:
    """Start a run that is expected to fail."""
    command = worker(directory, endpoint, *arguments)
    directory.mkdir(exist_ok=True)
    return subprocess.Popen(command, cwd=directory, env=given or environment(), stderr=subprocess.PIPE, text=True)


def assert_refused(process: Any, says: str, within: float = 30.0) -> None:
    """Check for one line, exit code 2, and no traceback."""
    try:
        lines = process.communicate(timeout=within)[1].strip().splitlines()
    finally:
        process.kill()
    assert process.returncode == 2, lines
    *before, last = [json.loads(line) for line in lines]
    assert all(line["event"] == "start.waiting" for line in before), lines
    assert last["event"].startswith("call-consumer: ")
    assert says in last["event"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nope"], "No such option: --nope"),
        (["--sink"], "requires an argument"),
        (["--sink", "jsnol:rows"], "unknown sink 'jsnol'. Did you mean 'jsonl'?"),
        (["--leases", "dynamodb"], "Did you mean 'dynamodb:'?"),
        (["--leases", "sqlite:no/such/leases.db"], "no/such does not exist: create it, or name another file"),
        (["--sink", "sqlite:no/such/rows.db"], "no/such does not exist: create it, or name another file"),
        (["--dead-letters", "sqlite:."], "--dead-letters .: this is a directory: name a file"),
        (["--sink", "jsonl:rows?rowz=1"], "unknown option 'rowz'"),
        (["--lease-duration", "soon"], "--lease-duration"),
        (["--sink", "jsonl:/dev/null/rows"], "/dev/null/rows"),
        (["--dead-letters", "jsonl:/dev/null/letters"], "/dev/null/letters"),
        (["--leases", "sqlite:/dev/null/leases.db"], "--leases"),
        (["--leases", "sqlite:no-database"], "not a database"),
        (["--sink", "sqlite:no-database"], "not a database"),
        (["--from", "yesterday"], "--from"),
        (["--region", "no region"], "region"),
        (["--endpoint-url", "127.0.0.1"], "--endpoint-url '127.0.0.1': say http://HOST:PORT"),
        (["--endpoint-url", "http://127.0.0.1:99999"], "say http://HOST:PORT"),
        (["--config", "missing.toml"], "missing.toml: No such file"),
        (["--config", "typo.toml"], "there is no setting 'sinc'; did you mean sink?"),
    ],
)
def test_a_configuration_error_is_one_line(
    kinesis: Any, endpoint: str, tmp_path: Path, arguments: list[str], says: str
) -> None:
    """It says what is wrong and where."""
    (tmp_path / "typo.toml").write_text('sinc = "stdout:"')
    (tmp_path / "no-database").write_bytes(b"no database " * 100)
    assert_refused(started(tmp_path, endpoint, *arguments), says)


def test_an_invalid_or_missing_stream_is_one_line(endpoint: str, tmp_path: Path) -> None:
    """It has the name, the region and the endpoint, or says what a name looks like."""
    runs = {
        "no-such-stream": f"there is no stream 'no-such-stream' in us-east-1 at {endpoint}",
        "arn:aws:s3:::bucket": "give its name",
        "arn:aws:kinesis:us-east-1:000000000000:stream/no-such-stream": "there is no stream 'no-such-stream'",
        "odd name!": "give its name",
    }
    for stream, says in runs.items():
        command = [sys.executable, "-m", "consumer", "run", stream, "--endpoint-url", endpoint]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
        assert_refused(process, says)


def test_missing_credentials_region_or_standard_output_are_one_line(endpoint: str, tmp_path: Path) -> None:
    """The line says what to set."""
    access = {name: value for name, value in CREDENTIALS.items() if name.endswith(("KEY_ID", "ACCESS_KEY"))}
    region = {"AWS_DEFAULT_REGION": "us-east-1"}
    assert_refused(started(tmp_path, endpoint, given={**BARE, **region}), "no AWS credentials: set AWS_PROFILE")
    assert_refused(started(tmp_path, endpoint, given={**BARE, **access}), "no AWS region: give --region")
    command = ["bash", "-c", 'exec "$@" >&-', "bash", *worker(tmp_path, endpoint)]
    closed = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert_refused(closed, "standard output is closed")


def test_a_dependency_that_does_not_respond_is_retried_for_ten_seconds(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """The endpoint refuses or is silent, or a lease table or sink is locked."""
    for name in ("leases", "sink"):
        (tmp_path / name).mkdir()
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    with (
        silent,
        closing(sqlite3.connect(tmp_path / "leases" / "call-consumer.db", isolation_level=None)) as leases,
        closing(sqlite3.connect(tmp_path / "sink" / "rows.db", isolation_level=None)) as rows,
    ):
        leases.execute("BEGIN EXCLUSIVE")
        rows.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        runs = {
            "does not respond at http://127.0.0.1:9": started(tmp_path / "a", "http://127.0.0.1:9"),
            "ReadTimeout": started(tmp_path / "b", f"http://127.0.0.1:{silent.getsockname()[1]}"),
            "call-consumer.db: the database is locked": started(tmp_path / "leases", endpoint),
            "rows.db: the database is locked": started(tmp_path / "sink", endpoint, "--sink", "sqlite:rows.db"),
        }
        for says, process in runs.items():
            assert_refused(process, says)
        assert time.monotonic() - began > 9
    assert not (tmp_path / "a" / "call-consumer.db").exists()


def test_a_full_disk_delays_the_shard_and_loses_nothing(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """It is logged while it lasts, and the next run delivers each row once."""
    data = b'{"type": "com.twilio.voice.api-request.call.created", "source": "s", "id": "%d", "data": {"sid": "CA1"}}'
    for number in range(20):
        kinesis.put_record(StreamName=STREAM, PartitionKey="one shard", Data=data % number)
    small = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash"]
    arguments = ["--sink", "jsonl:rows", "--leases", "memory:", "--batch-age", "0.2", "--shutdown-timeout", "2"]
    full = subprocess.Popen(
        [*small, *worker(tmp_path, endpoint, *arguments)],
        cwd=tmp_path,
        env=environment() | WITHOUT_COMPILED_FILES,
        stderr=subprocess.PIPE,
    )
    assert full.stderr is not None
    line = b""
    while b"File too large" not in line:
        line = full.stderr.readline()
        assert line
    full.terminate()
    assert full.wait(10) == 3
    assert not list((tmp_path / "rows").rglob("[!.]*.jsonl"))
    full.stderr.close()
    again = worker(tmp_path, endpoint, *arguments, "--until-caught-up")
    done = subprocess.run(again, cwd=tmp_path, env=environment(), check=True, capture_output=True, timeout=60)
    assert b"written 20" in done.stderr
