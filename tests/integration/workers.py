"""Start real worker processes, and read what they write."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import boto3
from botocore.config import Config

from consumer.decoding.deaggregation import aggregate
from tests.events import event_ids, numbered_event

STREAM = "twilio-events"
OFTEN: Any = {"Delay": 0.1, "MaxAttempts": 600}  # an emulator creates a stream in 100 ms
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# For a process whose files are limited in size: Python would keep a compiled module that is cut off at the limit.
WITHOUT_COMPILED_FILES = {"PYTHONDONTWRITEBYTECODE": "1"}


def client(service: Literal["kinesis", "dynamodb"], endpoint: str, config: Config | None = None) -> Any:
    """Return a client of an emulator without a proxy."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


def kinesis_client(endpoint: str) -> Any:
    """Return a stream client with retries, because kinesis-local closes connections after 5 s."""
    return client("kinesis", endpoint, Config(retries={"total_max_attempts": 3}))


@contextmanager
def new_stream(endpoint: str, shards: int) -> Iterator[Any]:
    """Create a stream for the duration of the block. Yield a client."""
    client = kinesis_client(endpoint)
    client.create_stream(StreamName=STREAM, ShardCount=shards)
    active(client)
    yield client
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    gone(client)
    client.close()


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


def put(client: Any, numbers: range, per_record: int = 1) -> None:
    """Put events with these numbers, plain or aggregated, on all shards."""
    data = [
        aggregate([(str(n), numbered_event(n)) for n in numbers[start : start + per_record]])
        if per_record > 1
        else numbered_event(numbers[start])
        for start in range(0, len(numbers), per_record)
    ]
    for start in range(0, len(data), 200):
        entries = [{"Data": item, "PartitionKey": str(random.random())} for item in data[start : start + 200]]
        client.put_records(StreamName=STREAM, Records=entries)


def gone(client: Any, stream: str = STREAM) -> None:
    """Wait until the stream is deleted."""
    client.get_waiter("stream_not_exists").wait(StreamName=stream, WaiterConfig=OFTEN)


def active(client: Any, stream: str = STREAM) -> None:
    """Wait until the stream is active."""
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig=OFTEN)


def open_shards(client: Any) -> list[dict[str, Any]]:
    shards = client.list_shards(StreamName=STREAM)["Shards"]
    found = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return sorted(found, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def split(client: Any) -> None:
    shard = open_shards(client)[0]
    middle = (int(shard["HashKeyRange"]["StartingHashKey"]) + int(shard["HashKeyRange"]["EndingHashKey"])) // 2
    client.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
    active(client)


def merge(client: Any) -> None:
    left, right = open_shards(client)[-2:]
    client.merge_shards(StreamName=STREAM, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"])
    active(client)


def expected(count: int) -> list[str]:
    return event_ids(range(count))


def in_sqlite(directory: Path) -> list[str]:
    database = sqlite3.connect(directory / "rows.db")
    found = [row[0] for row in database.execute("SELECT event_id FROM call_requests")]
    database.close()
    return found


def start(
    directory: Path, endpoint: str, *arguments: str, stdout: IO[bytes] | int | None = None
) -> "subprocess.Popen[bytes]":
    """Start a worker that keeps running. Its log goes to a separate file."""
    with (directory / f"log-{time.monotonic_ns()}").open("wb") as log:
        return subprocess.Popen(
            worker(directory, endpoint, *arguments), cwd=directory, env=environment(), stdout=stdout, stderr=log
        )


def logged(directory: Path) -> str:
    """Return the log lines of all workers of a directory."""
    return "".join(file.read_text() for file in sorted(directory.glob("log-*")))


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> float:
    """Wait for a condition on real processes. Return how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.1)
    return time.monotonic() - began


def owners(directory: Path) -> Counter[str]:
    """Return how many shards each worker holds, from the lease table."""
    if not (directory / "call-consumer.db").exists():
        return Counter()
    database = sqlite3.connect(directory / "call-consumer.db")
    try:
        return Counter(row[0] for row in database.execute("SELECT owner FROM leases WHERE owner IS NOT NULL"))
    except sqlite3.OperationalError:
        return Counter()
    finally:
        database.close()
