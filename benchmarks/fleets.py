"""Run fleets of this program's workers or of KCL workers, and time the rows that they write to pipes."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.servers import environment, kcl_worker, kinesis_client

STREAM = "twilio-events"
TYPE = "com.twilio.voice.api-request.call.created"
SHARDS = 4
PAUSE = 0.2
QUICK = ["--sink", "stdout:", "--batch-age", "0.2", "--poll-interval", "0.3"]


class Row(NamedTuple):
    """A row that a worker wrote. `at` is on this process's monotonic clock."""

    at: float
    shard: str
    event_id: str
    worker: str


@dataclass
class Fleet:
    """Workers of one kind, and all rows that they wrote."""

    start: "Callable[[str], subprocess.Popen[bytes]]"
    parse: Callable[[bytes], tuple[str, str]]
    rows: list[Row] = field(default_factory=list)
    workers: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    started: int = 0

    def add(self) -> str:
        """Start a worker and return its name."""
        name = f"w{self.started}"
        self.started += 1
        process = self.workers[name] = self.start(name)
        threading.Thread(target=self._listen, args=(name, process.stdout), daemon=True).start()
        return name

    def _listen(self, name: str, lines: Any) -> None:
        for line in lines:
            self.rows.append(Row(time.monotonic(), *self.parse(line), name))

    def end(self, name: str, number: signal.Signals) -> float:
        """Send a signal to a worker and return the time."""
        sent = time.monotonic()
        self.workers[name].send_signal(number)
        return sent

    def close(self) -> None:
        for process in self.workers.values():
            process.kill()
            process.wait()

    def since(self, moment: float) -> list[Row]:
        return [row for row in list(self.rows) if row.at >= moment]

    def readers(self, seconds: float = 2.0) -> dict[str, str]:
        """Map each shard to the worker that wrote its last row."""
        return {row.shard: row.worker for row in self.since(time.monotonic() - seconds)}

    def spread(self, workers: int) -> Callable[[], bool]:
        """Return a condition: at least this many workers read all shards."""
        return lambda: len(readers := self.readers()) == SHARDS and len(set(readers.values())) >= workers


def our_row(line: bytes) -> tuple[str, str]:
    row = json.loads(line)
    return row["shard_id"], row["event_id"]


def kcl_row(line: bytes) -> tuple[str, str]:
    shard, _, _, event_id = line.decode().rstrip("\n").split("\t")
    return shard, event_id


def ours(kinesis: str, dynamodb: str, lease: float, directory: Path) -> Fleet:
    """Return workers of this program."""
    leases = f"dynamodb:ours?endpoint_url={dynamodb}&region=us-east-1"
    run = [sys.executable, "-m", "consumer", "run", STREAM, "--endpoint-url", kinesis, "--leases", leases, *QUICK]

    def start(name: str) -> "subprocess.Popen[bytes]":
        with (directory / f"{name}.log").open("wb") as log:
            command = [*run, "--lease-duration", str(lease), "--worker-id", name]
            return subprocess.Popen(
                command, cwd=directory, env=environment(), stdout=subprocess.PIPE, stderr=log, bufsize=0
            )

    return Fleet(start, our_row)


def kcls(kinesis: str, dynamodb: str, lease: float, directory: Path) -> Fleet:
    """Return workers of Amazon's KCL, with its defaults except for the lease duration."""

    def start(name: str) -> "subprocess.Popen[bytes]":
        options = {"stream": STREAM, "application": "kcl", "kinesis": kinesis, "dynamodb": dynamodb, "worker": name}
        command = kcl_worker(rows="/dev/stdout", failover=int(1000 * lease), shardSync=1000, **options)
        with (directory / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)

    return Fleet(start, kcl_row)


def event(number: int) -> bytes:
    data = {"sid": f"CA{number:032x}", "request": {"method": "POST", "parameters": {"To": "+15550100000"}}}
    envelope = {"specversion": "1.0", "type": TYPE, "source": "/calls", "id": f"VW{number:032x}", "data": data}
    return json.dumps(envelope).encode()


@contextmanager
def publishing(kinesis: str) -> Iterator[None]:
    """Provide a stream with a new event per shard every `PAUSE` seconds."""
    client = kinesis_client(kinesis)
    client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    keys = [str(shard * 2**128 // SHARDS) for shard in range(SHARDS)]
    stopped = threading.Event()

    def publish() -> None:
        number = 0
        while not stopped.wait(PAUSE):
            entries = [
                {"Data": event(number + at), "PartitionKey": "any", "ExplicitHashKey": key}
                for at, key in enumerate(keys)
            ]
            client.put_records(StreamName=STREAM, Records=entries)
            number += SHARDS

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    yield
    stopped.set()
    thread.join()
    client.close()
