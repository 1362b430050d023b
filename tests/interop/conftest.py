"""Provide a stream, a lease table, and workers of this program and of Amazon's KCL."""

import itertools
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from consumer.decoding.deaggregation import deaggregate
from consumer.leases import Lease
from consumer.leases.dynamodb.item import is_lease, lease_of
from consumer.records import Position, Record
from tests.chaos.publisher import Publisher, Resharder
from tests.chaos.sinks import JsonlRows
from tests.chaos.witness import dynamodb_client
from tests.integration.workers import active, environment, kinesis_client
from tests.interop import kcl
from tests.interop.kcl import KclWorker

FAILOVER = 3.0
EventLocation = tuple[str, int, int]  # shard, sequence number, sub-sequence number
NUMBERS = itertools.count(1)


@dataclass
class Scene:
    """One stream and one lease table with the same name."""

    name: str
    kinesis_url: str
    dynamodb_url: str
    directory: Path
    installed: Path
    kinesis: Any
    dynamodb: Any
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = random.Random(self.name)
        self.publisher = Publisher(self.kinesis, rng, stream=self.name)
        self.resharder = Resharder(self.kinesis, rng, stream=self.name)

    # Workers ---------------------------------------------------------------------------------------------------------

    def kcl(self, name: str, **options: object) -> KclWorker:
        """Start a KCL worker with the shortest timers that it supports."""
        urls = {"kinesis": self.kinesis_url, "dynamodb": self.dynamodb_url}
        more = {"failover": int(1000 * FAILOVER), "quick": True, "idle": 300}
        worker = kcl.start(
            self.installed, self.directory, name, stream=self.name, application=self.name, **urls, **more, **options
        )
        self.processes.append(worker.process)
        return worker

    def ours(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a worker of ours. All of them write to one directory of files."""
        command = [sys.executable, "-m", "consumer", "run", self.name, "--endpoint-url", self.kinesis_url]
        command += ["--leases", f"dynamodb:{self.name}?endpoint_url={self.dynamodb_url}&region=us-east-1"]
        command += ["--sink", self.sink.url, "--batch-age", "0.3", "--poll-interval", "0.3", "--worker-id", name]
        command += ["--lease-duration", str(FAILOVER), "--log-format", "json", *arguments]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.directory, env=environment(), stderr=log)
        self.processes.append(process)
        return process

    def catch_up(self, name: str) -> None:
        """Run a worker of ours until it has caught up."""
        assert self.ours(name, "--until-caught-up").wait(90) == 0, (self.directory / f"{name}.log").read_text()

    @property
    def sink(self) -> JsonlRows:
        return JsonlRows(self.directory)

    def rows(self) -> list[EventLocation]:
        """Return the locations of the rows that our workers delivered."""
        return [(row.shard, row.sequence, row.sub_sequence) for row in self.sink.rows()]

    # State -----------------------------------------------------------------------------------------------------------

    def items(self) -> list[dict[str, Any]]:
        """Return the leases of the table, without other items of a KCL."""
        items = self.dynamodb.scan(TableName=self.name, ConsistentRead=True)["Items"]
        return [item for item in items if is_lease(item)]

    def leases(self) -> dict[str, Lease]:
        return {item["leaseKey"]["S"]: lease_of(item) for item in self.items()}

    def published(self) -> set[EventLocation]:
        """Return every user record on the stream."""
        shards = self.kinesis.list_shards(StreamName=self.name)["Shards"]
        return {place for shard in shards for place in self._published(shard["ShardId"])}

    def _published(self, shard: str) -> Iterator[EventLocation]:
        asked = self.kinesis.get_shard_iterator(StreamName=self.name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        iterator = asked["ShardIterator"]
        while iterator is not None:
            answer = self.kinesis.get_records(ShardIterator=iterator)
            for item in answer["Records"]:
                record = Record(int(item["SequenceNumber"]), item["PartitionKey"], 0.0, item["Data"])
                for part in deaggregate(record)[0]:
                    yield shard, part.sequence, part.sub_sequence
            iterator = answer.get("NextShardIterator") if answer["Records"] or answer["MillisBehindLatest"] else None


def after(places: set[EventLocation], checkpoints: Mapping[str, Position]) -> set[EventLocation]:
    """Return the records after the checkpoint of their shard, or of a shard without one."""
    return {place for place in places if place[0] not in checkpoints or checkpoints[place[0]] < Position.of(*place[1:])}


def checkpoints(leases: Mapping[str, Lease]) -> dict[str, Position]:
    return {shard: lease.checkpoint for shard, lease in leases.items()}


def wait_until(true: Callable[[], Any], what: str, seconds: float = 90.0) -> float:
    """Wait for a condition on real processes. Return how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture(scope="session")
def installed() -> Path:
    return kcl.install()


@pytest.fixture
def scene(kinesis_local_server: str, dynamodb_local_server: str, installed: Path, tmp_path: Path) -> Iterator[Scene]:
    name = f"calls-{next(NUMBERS)}"
    client, store = kinesis_client(kinesis_local_server), dynamodb_client(dynamodb_local_server)
    client.create_stream(StreamName=name, ShardCount=2)
    active(client, name)
    scene = Scene(name, kinesis_local_server, dynamodb_local_server, tmp_path, installed, client, store)
    yield scene
    for process in scene.processes:
        process.kill()
        process.wait()
    client.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    client.close()
    store.close()


def end(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a worker of ours a signal and wait for its end."""
    process.send_signal(number)
    assert process.wait(40) == (0 if number is signal.SIGTERM else -number)
