"""Kill workers ten times on a busy machine, then check that one last run finds every event."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.decoding.deaggregation import deaggregate
from consumer.records import Record
from tests.chaos.sinks import dead_letters
from tests.integration.workers import STREAM, active, environment, in_sqlite, kinesis_client, logged, put, start, worker

EVENTS = 6_000
SHARDS = 4
KILLS = 10
LOOPS = 8
LAST_RUN = 120.0  # seconds in which the last run must end
BUSY_FOR = 300.0  # seconds after which a busy loop ends, even without its parent
ARGUMENTS = ["--sink", "sqlite:rows.db", "--dead-letters", "sqlite:letters.db", "--lease-duration", "3"]
LOOP = f"import time\nends = time.monotonic() + {BUSY_FOR}\nwhile time.monotonic() < ends: pass"


@dataclass
class KillReport:
    """The result of one run. `expected` are the events that a plain loop over the stream finds."""

    seed: int
    expected: int = 0
    rows: int = 0
    code: int | None = None
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        line = (
            f"seed {self.seed}: {self.rows} of {self.expected} rows, last run ended with {self.code}"
            f" after {self.seconds:.1f} s"
        )
        return "\n".join([line, *(f"BROKEN: {broken}" for broken in self.broken)])


def kill_run(seed: int, directory: Path, endpoint: str, loops: int = LOOPS) -> KillReport:
    """Kill a worker ten times at moments drawn from `seed`, then let one read to the end and check the rows."""
    rng, report = random.Random(seed), KillReport(seed)
    client = kinesis_client(endpoint)
    client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    active(client)
    put(client, range(EVENTS // 2))
    put(client, range(EVENTS // 2, EVENTS), per_record=5)
    with _busy(loops):
        for number in range(KILLS):
            _killed(rng, directory, endpoint, number)
        _last_run(report, directory, endpoint)
    _judge(report, directory, set(_events(client)))
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    client.close()
    return report


@contextmanager
def _busy(loops: int) -> Iterator[None]:
    """Start loops that use all of the processor. They end without a signal, too."""
    processes = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _killed(rng: random.Random, directory: Path, endpoint: str, number: int) -> None:
    """Start one worker that is killed soon, sometimes with the name of the one before."""
    name = "same" if rng.random() < 0.5 else f"w{number}"
    process = start(directory, endpoint, *ARGUMENTS, "--worker-id", name)
    time.sleep(rng.uniform(1.0, 4.0))
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise AssertionError(f"a worker ended before it was killed: {logged(directory)[-500:]}")


def _last_run(report: KillReport, directory: Path, endpoint: str) -> None:
    began = time.monotonic()
    command: Sequence[str] = worker(directory, endpoint, *ARGUMENTS, "--until-caught-up", "--worker-id", "last")
    with (directory / "log-last").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, env=environment(), stderr=log)
    try:
        report.code = process.wait(LAST_RUN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    report.seconds = time.monotonic() - began
    if report.code != 0:
        tail = (directory / "log-last").read_text(errors="replace")[-600:]
        report.broken.append(f"the last run did not end with 0 within {LAST_RUN:.0f} s: {report.code}; {tail}")


def _events(client: Any) -> Iterator[str]:
    """Return the ids of all events on the stream. This plain loop shares no code with the worker's reader."""
    for shard in client.list_shards(StreamName=STREAM)["Shards"]:
        asked = client.get_shard_iterator(StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        iterator, empty = asked["ShardIterator"], 0
        while iterator is not None and empty < 3:
            answer = client.get_records(ShardIterator=iterator, Limit=500)
            for item in answer["Records"]:
                record = Record(int(item["SequenceNumber"]), item["PartitionKey"], 0.0, item["Data"])
                yield from (_id(part.data) for part in deaggregate(record)[0])
            empty = 0 if answer["Records"] else empty + 1
            iterator = answer.get("NextShardIterator")


def _id(data: bytes) -> str:
    return data.partition(b'"id": "')[2].partition(b'"')[0].decode()


def _judge(report: KillReport, directory: Path, expected: set[str]) -> None:
    rows = in_sqlite(directory) if (directory / "rows.db").exists() else []
    report.expected, report.rows = len(expected), len(rows)
    if len(expected) != EVENTS:
        report.broken.append(f"the stream itself has {len(expected)} of {EVENTS} events")
    if lost := expected - set(rows):
        report.broken.append(f"{len(lost)} events are lost, such as {min(lost)}")
    if len(rows) != len(set(rows)):
        report.broken.append(f"{len(rows) - len(set(rows))} rows are there twice")
    if letters := dead_letters(directory / "letters.db"):
        report.broken.append(f"{letters} dead letters")
