"""Run `call-consumer kcl-daemon` under Amazon's MultiLangDaemon, on kinesis-local and DynamoDB Local."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from consumer.decoding.deaggregation import aggregate
from consumer.multilang.properties import properties
from consumer.settings import load
from tests.events import event_ids, numbered_event
from tests.integration import multilang
from tests.integration.multilang import JARS, REGION, Daemon, make_lease_table, service
from tests.integration.workers import STREAM, in_sqlite, split, wait_until
from tests.needs import need


@pytest.fixture(scope="module", autouse=True)
def daemon_jars() -> None:
    multilang.install()


@pytest.fixture
def shards() -> int:
    return 2


def put(client: Any, numbers: range, per_record: int = 1) -> None:
    """Put events. Those of an aggregate share its partition key, because KCL would drop the aggregate otherwise."""
    for start in range(0, len(numbers), per_record):
        some = numbers[start : start + per_record]
        key = hashlib.md5(f"{some[0]}".encode()).hexdigest()
        data = (
            numbered_event(some[0])
            if per_record == 1
            else aggregate([(key, numbered_event(number)) for number in some])
        )
        client.put_record(StreamName=STREAM, Data=data, PartitionKey=key)


def rows(directory: Path) -> int:
    """Return the number of rows, 0 before the table exists."""
    try:
        return len(in_sqlite(directory))
    except sqlite3.OperationalError:
        return 0


def checkpoints(dynamodb_url: str) -> dict[str, str]:
    """Return the checkpoint of each shard, with its sub-sequence number, from the lease table."""
    client = service("dynamodb", dynamodb_url)
    items = client.scan(TableName=STREAM)["Items"]
    client.close()
    return {
        item["leaseKey"]["S"]: f"{item['checkpoint']['S']}.{item['checkpointSubSequenceNumber']['N']}"
        for item in items
        if "checkpoint" in item
    }


def test_a_split_and_kill_9_under_the_real_daemon_lose_and_repeat_nothing(
    kinesis: Any, dynamodb_local_server: str, tmp_path: Path
) -> None:
    """There are plain and aggregated events, two generations of shards, a kill and an orderly stop."""
    endpoint = kinesis.meta.endpoint_url
    settings = ["--sink", "sqlite:rows.db", "--endpoint-url", endpoint, "--lease-duration", "3", "--batch-age", "0.5"]
    make_lease_table(dynamodb_local_server, STREAM, ["shardId-000000000000", "shardId-000000000001"])
    put(kinesis, range(60))
    put(kinesis, range(60, 300), per_record=8)
    kinesis.put_record(StreamName=STREAM, Data=b"no JSON", PartitionKey="0")
    daemon = Daemon(tmp_path, [*settings, "--worker-id", "daemon", STREAM], dynamodb_local_server)
    try:
        wait_until(lambda: rows(tmp_path) >= 300 or daemon.over(), 60)
        split(kinesis)
        put(kinesis, range(300, 500), per_record=8)
        wait_until(lambda: rows(tmp_path) > 320 or daemon.over(), 60)
        daemon.kill()
        put(kinesis, range(500, 600), per_record=5)
        daemon = Daemon(tmp_path, [*settings, "--worker-id", "daemon", STREAM], dynamodb_local_server)
        wait_until(lambda: rows(tmp_path) >= 600 or daemon.over(), 60)
        daemon.stop()
    finally:
        daemon.kill()
    counts = Counter(in_sqlite(tmp_path))
    assert sorted(counts) == event_ids(range(600))
    letters = [json.loads(line) for file in tmp_path.rglob("*.dead-letters") for line in file.read_text().splitlines()]
    assert {letter["reason"] for letter in letters} == {"not-json"}
    done = checkpoints(dynamodb_local_server)
    assert done.pop("shardId-000000000000", "SHARD_END.0").startswith("SHARD_END")  # KCL deletes such rows eventually
    assert len(done) == 3
    assert all(place.endswith(".4") for place in done.values())  # the last user record of five in an aggregate


def test_the_daemon_knows_every_property() -> None:
    """It silently ignores unknown keys, so the test looks for setters in its classes."""
    need(shutil.which("javap") is not None, "a JDK")
    config = "software.amazon.kinesis.multilang.config.MultiLangDaemonConfiguration"
    shown = subprocess.run(["javap", "-p", "-cp", f"{JARS}/*", config], capture_output=True, text=True, check=True)
    text = properties(
        load(
            {"stream": "s", "region": REGION, "endpoint_url": "http://h", "worker_id": "w", "max_leases": 3}, None, {}
        ),
        ["call-consumer"],
    )
    keys = [line.partition(" = ")[0] for line in text.splitlines() if line and not line.startswith("#")]
    keys += [line.partition(" = ")[0][2:] for line in text.splitlines() if line.endswith(" = ")]
    own = {"executableName", "processingLanguage"}  # read by the daemon itself
    unknown = [key for key in keys if key not in own and f" set{key[0].upper()}{key[1:]}(" not in shown.stdout]
    assert unknown == []
    assert len(keys) > 12
