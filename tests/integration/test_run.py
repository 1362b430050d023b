"""The whole job in a process of its own, against an embedded Kinesis."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from consumer.pipeline.deaggregation import aggregate

STREAM = "twilio-events"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kinesis(endpoint: str) -> Any:
    client = boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_stream(StreamName=STREAM, ShardCount=2)
    yield client
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    client.close()


def event(number: int, event_type: str = "com.twilio.voice.api-request.call.created") -> bytes:
    data = {"sid": f"CA{number:032x}", "request": {"method": "POST", "parameters": {"To": "+15550100000"}}}
    envelope = {"specversion": "1.0", "type": event_type, "source": "/calls", "id": f"VW{number:032x}", "data": data}
    return json.dumps(envelope).encode()


def worker(directory: Path, endpoint: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "consumer", "run", STREAM, "--endpoint-url", endpoint, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, **CREDENTIALS}


def run(directory: Path, endpoint: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        worker(directory, endpoint, *arguments),
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ids(directory: Path) -> list[str]:
    lines = [line for file in sorted(directory.rglob("*.jsonl")) for line in file.read_text().splitlines()]
    return [json.loads(line)["event_id"] for line in lines]


def test_every_event_ends_as_a_row_a_skip_or_a_dead_letter(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Plain and aggregated events come once each; the rest leaves its trace; a second run repeats nothing."""
    for number in range(20):
        kinesis.put_record(StreamName=STREAM, PartitionKey=str(number), Data=event(number))
    kinesis.put_record(StreamName=STREAM, PartitionKey="a", Data=aggregate([(str(n), event(n)) for n in range(20, 50)]))
    kinesis.put_record(StreamName=STREAM, PartitionKey="b", Data=b"no json")
    kinesis.put_record(StreamName=STREAM, PartitionKey="c", Data=event(99, "com.twilio.messaging.message.sent"))
    done = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert sorted(ids(tmp_path / "rows")) == sorted(f"VW{n:032x}" for n in range(50))
    assert "written 50" in done.stderr
    assert "skipped 1" in done.stderr
    assert "dead letters 1" in done.stderr
    assert "+1555" not in done.stderr
    [letters] = (tmp_path / "dead-letters").rglob("*.jsonl")
    assert json.loads(letters.read_text())["reason"] == "not-json"
    assert letters.stat().st_mode & 0o777 == 0o600
    again = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert again.returncode == 0, again.stderr
    assert len(ids(tmp_path / "rows")) == 50


def test_sqlite_holds_each_event_once_however_often_it_is_sent(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Twilio's own repeats are absorbed by the event's identity."""
    for _ in range(3):
        kinesis.put_record(StreamName=STREAM, PartitionKey="a", Data=event(1))
    done = run(tmp_path, endpoint, "--sink", "sqlite:rows.db", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert "repeated 2" in done.stderr
    database = sqlite3.connect(tmp_path / "rows.db")
    assert database.execute("SELECT count(*) FROM call_requests").fetchone() == (1,)
    database.close()


def test_sigterm_delivers_checkpoints_and_ends_with_0(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """An orderly end is quick and repeats nothing."""
    for number in range(10):
        kinesis.put_record(StreamName=STREAM, PartitionKey=str(number), Data=event(number))
    with subprocess.Popen(
        worker(tmp_path, endpoint, "--sink", "jsonl:rows", "--batch-age", "60"),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        seen = ""
        while seen.count("lease.taken") < 2:
            seen += process.stderr.readline()
        time.sleep(1.5)  # a real process against a real clock: let it read
        process.terminate()
        rest = process.communicate(timeout=10)[1]
    assert process.returncode == 0, seen + rest
    assert len(ids(tmp_path / "rows")) == 10
    again = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert "fetched 0" in again.stderr or "written 0" in again.stderr
    assert len(ids(tmp_path / "rows")) == 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sink", "jsnol:rows"], "did you mean 'jsonl'"),
        (["--sink", "jsonl:rows?rowz=1"], "unknown option 'rowz'"),
        (["--lease-duration", "soon"], "--lease-duration"),
        (["--sink", "jsonl:/dev/null/rows"], "/dev/null/rows"),
        (["--leases", "sqlite:/dev/null/leases.db"], "--leases"),
        (["--from", "yesterday"], "--from"),
    ],
)
def test_an_operators_mistake_is_one_line_and_exit_code_2(
    kinesis: Any, endpoint: str, tmp_path: Path, arguments: list[str], says: str
) -> None:
    """No traceback, and the line says what and where."""
    done = run(tmp_path, endpoint, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_stream_that_is_not_there_is_one_line(endpoint: str, tmp_path: Path) -> None:
    """The line names the stream, the region and the endpoint."""
    done = run(tmp_path, endpoint)
    assert done.returncode == 2
    assert f"there is no stream '{STREAM}' in us-east-1 at {endpoint}" in done.stderr
    assert "Traceback" not in done.stderr
