"""The worker on real shard semantics: kinesis-local, real processes, real signals."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from consumer.pipeline.deaggregation import aggregate
from tests.integration.servers import kinesis_local
from tests.integration.test_run import STREAM, environment, event, ids, run, worker


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with kinesis_local() as url:
        yield url


@pytest.fixture
def kinesis(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_stream(StreamName=STREAM, ShardCount=4)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    yield client
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    client.get_waiter("stream_not_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    client.close()


def put(client: Any, numbers: range, per_record: int = 1) -> None:
    """Put events with these numbers, plain or aggregated, spread over the shards."""
    data = [
        aggregate([(str(n), event(n)) for n in numbers[start : start + per_record]])
        if per_record > 1
        else event(numbers[start])
        for start in range(0, len(numbers), per_record)
    ]
    for start in range(0, len(data), 200):
        entries = [{"Data": item, "PartitionKey": str(random.random())} for item in data[start : start + 200]]
        client.put_records(StreamName=STREAM, Records=entries)


def active(client: Any) -> None:
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})


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
    return sorted(f"VW{number:032x}" for number in range(count))


def in_sqlite(directory: Path) -> list[str]:
    database = sqlite3.connect(directory / "rows.db")
    found = [row[0] for row in database.execute("SELECT event_id FROM call_requests")]
    database.close()
    return found


def start(directory: Path, endpoint: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """A worker that runs on; its log goes to a file of its own."""
    with (directory / f"log-{time.monotonic_ns()}").open("wb") as log:
        return subprocess.Popen(worker(directory, endpoint, *arguments), cwd=directory, env=environment(), stderr=log)


def wait_until(true: Any, seconds: float = 30.0) -> float:
    """Wait for a condition on real processes; returns how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.mark.parametrize("sink", ["jsonl:rows", "sqlite:rows.db"])
def test_a_split_and_a_merge_in_the_middle_lose_nothing(kinesis: Any, endpoint: str, tmp_path: Path, sink: str) -> None:
    """Plain and aggregated events, each once, over three generations of shards."""
    put(kinesis, range(300))
    put(kinesis, range(300, 1500), per_record=20)
    split(kinesis)
    put(kinesis, range(1500, 1800))
    merge(kinesis)
    put(kinesis, range(1800, 2000))
    done = run(tmp_path, endpoint, "--sink", sink, "--until-caught-up")
    assert done.returncode == 0, done.stderr
    found = in_sqlite(tmp_path) if sink.startswith("sqlite") else ids(tmp_path / "rows")
    assert sorted(found) == expected(2000)


@pytest.mark.parametrize("worker_id", ["same", "changing"])
def test_kill_9_at_random_moments_loses_and_repeats_nothing(
    kinesis: Any, endpoint: str, tmp_path: Path, worker_id: str
) -> None:
    """A crash at any instant: the files hold each event once all the same."""
    put(kinesis, range(400))
    made = 400
    for attempt in range(6):
        name = "w" if worker_id == "same" else f"w{attempt}"
        process = start(
            tmp_path,
            endpoint,
            "--sink",
            "jsonl:rows",
            "--lease-duration",
            "1.5",
            "--worker-id",
            name,
            "--batch-rows",
            "40",
        )
        put(kinesis, range(made, made + 100), per_record=5)
        made += 100
        time.sleep(random.uniform(1.0, 4.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up", "--lease-duration", "1.5")
    assert done.returncode == 0, done.stderr
    counts = Counter(ids(tmp_path / "rows"))
    assert sorted(counts) == expected(made)
    assert max(counts.values()) == 1


def test_two_processes_share_the_shards_and_one_reads_on_when_the_other_is_killed(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """One SQLite lease table; failover within the lease and five seconds."""
    arguments = ["--sink", "sqlite:rows.db", "--lease-duration", "3"]
    one = start(tmp_path, endpoint, *arguments, "--worker-id", "one")
    two = start(tmp_path, endpoint, *arguments, "--worker-id", "two")
    try:
        wait_until(lambda: sorted(owners(tmp_path).values()) == [2, 2])
        one.kill()
        one.wait()
        put(kinesis, range(100))
        took = wait_until(lambda: owners(tmp_path) == {"two": 4})
        assert took < 3 + 5
        wait_until(lambda: len(in_sqlite(tmp_path)) == 100)
    finally:
        two.terminate()
        assert two.wait(10) == 0
        one.kill()


def owners(directory: Path) -> Counter[str]:
    """How many shards each worker holds, by the lease table."""
    if not (directory / "call-consumer.db").exists():
        return Counter()
    database = sqlite3.connect(directory / "call-consumer.db")
    try:
        return Counter(row[0] for row in database.execute("SELECT owner FROM leases WHERE owner IS NOT NULL"))
    except sqlite3.OperationalError:
        return Counter()
    finally:
        database.close()


def test_a_frozen_worker_that_wakes_repeats_nothing(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """SIGSTOP for three leases in the middle of the work, while another takes over, then SIGCONT."""
    arguments = ["--sink", "jsonl:rows", "--lease-duration", "1.5", "--batch-rows", "50"]
    frozen = start(tmp_path, endpoint, *arguments, "--worker-id", "frozen")
    other = None
    try:
        wait_until(lambda: sum(owners(tmp_path).values()) == 4)
        put(kinesis, range(400))
        time.sleep(0.3)
        os.kill(frozen.pid, signal.SIGSTOP)
        other = start(tmp_path, endpoint, *arguments, "--worker-id", "other")
        put(kinesis, range(400, 600))
        time.sleep(4.5)
        os.kill(frozen.pid, signal.SIGCONT)
        wait_until(lambda: sorted(set(ids(tmp_path / "rows"))) == expected(600))
    finally:
        for process in (frozen, other):
            if process is not None:
                process.terminate()
                assert process.wait(10) == 0
    assert max(Counter(ids(tmp_path / "rows")).values()) == 1


def test_two_live_workers_of_one_id_are_refused(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """The second one ends with 2 and one line; the first goes on."""
    arguments = ["--sink", "jsonl:rows", "--lease-duration", "3", "--worker-id", "twin"]
    first = start(tmp_path, endpoint, *arguments)
    try:
        wait_until(lambda: owners(tmp_path) == {"twin": 4})
        second = run(tmp_path, endpoint, *arguments)
        assert second.returncode == 2
        assert "another live worker has the id 'twin'" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.poll() is None
    finally:
        first.terminate()
        assert first.wait(10) == 0
