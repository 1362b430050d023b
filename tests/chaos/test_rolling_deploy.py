"""Replace workers under load, with a sink that stores duplicates."""

import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.fleet import Fleet, Services, Worker
from tests.chaos.publisher import Publisher
from tests.integration.workers import STREAM, active, kinesis_client, wait_until

WORKERS = 3


def numbers(fleet: Fleet) -> Iterator[int]:
    """Return the events from the standard outputs of all workers."""
    for worker in fleet.workers:
        for line in worker.log.with_suffix(".out").read_text().splitlines():
            yield int(json.loads(line)["event_id"][2:], 16)


def reads(worker: Worker) -> bool:
    return any(event["event"] == "lease.taken" for event in worker.events())


def test_a_rolling_deploy_repeats_nothing(services: Services, tmp_path: Path) -> None:
    """Each worker is replaced in turn, and every event is written once."""
    client = kinesis_client(services.kinesis)
    client.create_stream(StreamName=STREAM, ShardCount=2 * WORKERS)
    active(client)
    arguments = ["--lease-duration", "3", "--batch-age", "0.2", "--poll-interval", "0.3", "--sink", "stdout:"]
    fleet, publisher = Fleet(tmp_path, services, arguments, random.Random(1)), Publisher(client, random.Random(2), 0.1)
    old = [fleet.start() for _ in range(WORKERS)]
    try:
        wait_until(lambda: all(map(reads, old)), 60)
        publisher.start()
        for worker in old:
            new = fleet.start()
            wait_until(lambda: reads(new), 60)  # noqa: B023
            worker.send(signal.SIGTERM)
            assert worker.process.wait(30) == 0
        published = publisher.stop()
        wait_until(lambda: set(numbers(fleet)) == set(range(published)), 30)
    finally:
        fleet.stop()
        client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
        client.close()
    assert set(Counter(numbers(fleet)).values()) == {1}
    assert not list(fleet.complaints())
