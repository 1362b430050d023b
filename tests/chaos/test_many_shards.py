"""Let many shards, a lease table or a sink fail under a real worker: the log stays short and other shards continue."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.events import numbered_event
from tests.integration.workers import (
    STREAM,
    environment,
    expected,
    ids,
    in_sqlite,
    new_stream,
    put,
    wait_until,
    worker,
)
from tests.servers.faulty_proxy import Fault, FaultyProxy

QUIET_LEVELS = ("debug", "info")


@contextmanager
def running(directory: Path, endpoint: str, *arguments: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a worker that writes rows to `rows` and its log to `log`."""
    sinks = ["--dead-letters", "jsonl:letters", "--batch-age", "0.3", "--log-format", "json"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            worker(directory, endpoint, *sinks, *arguments),
            cwd=directory,
            env=environment() | variables,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def outage(directory: Path) -> list[dict[str, Any]]:
    """Return the log lines that start or end a failure, without time-outs, which a busy emulator adds."""
    found = [json.loads(line) for line in (directory / "log").read_text().splitlines() if line.endswith("}")]
    of_note = [line for line in found if line["level"] not in QUIET_LEVELS or line["event"].endswith(".resumed")]
    return [line for line in of_note if "Timeout" not in line.get("error", "")]


def taken(directory: Path) -> int:
    """Return the number of leases that the worker has taken."""
    return (directory / "log").read_text().count('"lease.taken"')


@pytest.mark.xdist_group("300 shards")
def test_one_cause_that_stops_300_shards_is_logged_in_one_line(tmp_path: Path, moto_server: str) -> None:
    """And so is its end, although each shard fails and resumes at a different time."""
    shards = 300
    with new_stream(moto_server, shards) as client:
        proxy = FaultyProxy(moto_server, random.Random(1))
        arguments = ["--sink", "jsonl:rows", "--leases", "sqlite:leases.db", "--poll-interval", "5"]
        with running(tmp_path, proxy.url, *arguments) as process:
            wait_until(lambda: taken(tmp_path) == shards, 120)
            put(client, range(600))
            wait_until(lambda: len(ids(tmp_path / "rows")) == 600, 120)
            proxy.suffer(Fault.REFUSE)
            time.sleep(15.0)  # each shard is read at least once, and retried
            proxy.heal()
            put(client, range(600, 1200))
            wait_until(lambda: len(ids(tmp_path / "rows")) == 1200, 120)
            wait_until(lambda: len(outage(tmp_path)) >= 2, 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        proxy.close()
    began, ended = outage(tmp_path)
    assert (began["event"], ended["event"]) == ("shard.waiting", "shard.resumed")
    assert ended["affected"] == shards
    assert sorted(ids(tmp_path / "rows")) == expected(1200)


def stored(directory: Path) -> int:
    """Return the number of rows in SQLite, also before the worker has created its table."""
    try:
        return len(in_sqlite(directory))
    except sqlite3.OperationalError:
        return 0


@pytest.mark.xdist_group("failed renewals")
def test_renewals_that_fail_later_stop_deliveries_until_they_work_again(tmp_path: Path, moto_server: str) -> None:
    """The lease table rejects everything once the worker has run for a while, for much longer than the lease.

    The sink takes rows without a write to the lease table before, so only the expired lease stops the delivery.
    """
    lease = 5.0
    with new_stream(moto_server, 4) as client:
        table = FaultyProxy(moto_server, random.Random(1))
        arguments = ["--sink", "sqlite:rows.db", "--lease-duration", str(lease), "--leases"]
        with running(tmp_path, moto_server, *arguments, f"dynamodb:many?endpoint_url={table.url}") as process:
            put(client, range(100))
            wait_until(lambda: stored(tmp_path) == 100, 60)
            table.suffer(Fault.THROTTLE)
            time.sleep(lease + 1.0)
            put(client, range(100, 200))
            time.sleep(2 * lease)
            assert process.poll() is None
            assert stored(tmp_path) == 100  # another worker may have taken the leases meanwhile
            table.heal()
            wait_until(lambda: stored(tmp_path) == 200, 60)
            wait_until(lambda: len(outage(tmp_path)) >= 2, 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        table.close()
    began, ended = outage(tmp_path)
    # The call that fails first may be the checkpoint of the first rows.
    assert began["event"] in ("renewal.failed", "scan.failed", "discovery.failed", "shard.waiting")
    assert ended["event"] == f"{began['event'].partition('.')[0]}.resumed"
    assert sorted(in_sqlite(tmp_path)) == expected(200)


HANGING_SINK = """
import json, os, time
from pathlib import Path
from pydantic import BaseModel
from consumer.records import BatchLimits
from consumer.sinks import Deduplication

class Options(BaseModel, extra="forbid"):
    pass

def connect(url, options, schema):
    return HangingSink(Path(url.path))

class HangingSink:
    limits, repeats, rejects_rows = BatchLimits(rows=100, age=0.3), Deduplication.APPENDS, False
    def __init__(self, path):
        self.path, self.stuck = path, os.environ["STUCK_SHARDS"].split(",")
    def check(self):
        pass
    def holds(self, name):
        return False
    def close(self):
        pass
    def write(self, rows):
        while any(shard_id in rows.name for shard_id in self.stuck):
            time.sleep(1.0)
        with self.path.open("ab") as file:
            file.writelines(block.lines for block in rows)
        return 0
"""


def install_sink(directory: Path) -> Path:
    """Create a package with the sink `hanging`; return the folder to put on PYTHONPATH."""
    packages = directory / "packages"
    metadata = packages / "hanging_sink-1.0.dist-info"
    metadata.mkdir(parents=True)
    (packages / "hanging_sink.py").write_text(HANGING_SINK)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging-sink\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[call_consumer.sinks]\nhanging = hanging_sink\n")
    return packages


def large_event(number: int) -> bytes:
    made = json.loads(numbered_event(number))
    made["data"]["request"]["parameters"]["Padding"] = os.urandom(30_000).hex()
    return json.dumps(made).encode()


@pytest.mark.xdist_group("hanging sink")
def test_six_shards_whose_sink_hangs_do_not_starve_a_seventh(tmp_path: Path, moto_server: str) -> None:
    """They hold more records than the memory budget allows for all."""
    shards, each = 7, 40  # 2.4 MB per shard, with a budget of 1 MiB
    with new_stream(moto_server, shards) as client:
        listed = sorted(client.list_shards(StreamName=STREAM)["Shards"], key=lambda shard: shard["ShardId"])
        for at, shard in enumerate(listed):
            for first in range(0, each, 10):
                entries = [
                    {
                        "Data": large_event(at * each + number),
                        "PartitionKey": "any",
                        "ExplicitHashKey": shard["HashKeyRange"]["StartingHashKey"],
                    }
                    for number in range(first, first + 10)
                ]
                assert client.put_records(StreamName=STREAM, Records=entries)["FailedRecordCount"] == 0
        variables = {
            "PYTHONPATH": str(install_sink(tmp_path)),
            "STUCK_SHARDS": ",".join(shard["ShardId"] for shard in listed[:-1]),
        }
        rows = tmp_path / "rows.jsonl"
        arguments = ["--sink", f"hanging:{rows}", "--leases", "sqlite:leases.db", "--memory", "1MiB"]
        with running(tmp_path, moto_server, *arguments, **variables) as process:
            wait_until(lambda: rows.exists() and len(rows.read_text().splitlines()) == each, 90)
            assert process.poll() is None
    assert {json.loads(line)["shard_id"] for line in rows.read_text().splitlines()} == {listed[-1]["ShardId"]}
