"""Serve probes and metrics of a real worker process."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.cli import samples
from consumer.cli.demo import embedded_kinesis
from consumer.streams.kinesis import kinesis_client
from tests.integration.workers import environment

STREAM = "watched-events"
EVENTS = 200
RUN = [sys.executable, "-m", "consumer", "run", STREAM]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Provide a stream of two shards with some events, and one record that is not an event."""
    with pytest.MonkeyPatch.context() as patch, embedded_kinesis() as url:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        client = kinesis_client(STREAM, "us-east-1", url, 1)
        client.create_stream(StreamName=STREAM, ShardCount=2)
        sum(samples.put(client, STREAM, [*samples.numbered(EVENTS), b"no json"]))
        yield url
        client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
        client.close()


@contextmanager
def worker(directory: Path, endpoint: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start a worker. Return it and the URL of its server."""
    with subprocess.Popen(
        [*RUN, "--endpoint-url", endpoint, "--http", "127.0.0.1:0", *arguments],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, f"http://127.0.0.1:{_port(process)}"
        finally:
            process.kill()


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stderr is not None
    for line in process.stderr:
        said = json.loads(line)
        if said["event"] == "http.listening":
            return int(said["port"])
    raise AssertionError("the worker ended")


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def wait_for(url: str, status: int) -> str:
    """Repeat the request until the page has this status. Return its text."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        found, text = ask(url)
        if found == status:
            return text
        time.sleep(0.05)
    raise AssertionError(f"{url} is still {found}: {text}")


def metrics(url: str) -> dict[str, float]:
    """Return our own samples, summed over their labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(ask(f"{url}/metrics")[1]):
        for sample in family.samples:
            name = sample.name.removeprefix("call_consumer_")
            found[name] = found.get(name, 0.0) + sample.value
    return found


def wait_until(url: str, name: str, least: float) -> dict[str, float]:
    """Scrape until a metric reaches a value."""
    give_up = time.monotonic() + 20
    while (found := metrics(url))[name] < least and time.monotonic() < give_up:
        time.sleep(0.1)
    return found


def test_a_worker_becomes_live_and_ready_and_counts_its_records(endpoint: str, tmp_path: Path) -> None:
    """No value of an event appears in the metrics."""
    with worker(tmp_path, endpoint, "--sink", "jsonl:rows", "--batch-age", "0.2") as (process, url):
        assert ask(f"{url}/livez") == (200, "live\n")
        assert wait_for(f"{url}/readyz", 200) == "ready\n"
        found = wait_until(url, "user_records_total", EVENTS + 1)  # counted last, after the checkpoint
        text = ask(f"{url}/metrics")[1]
        process.terminate()
        assert process.wait(20) == 0
    assert found["rows_written_total"] == EVENTS
    assert found["user_records_total"] == EVENTS + 1
    assert 'dead_letters_total{reason="not-json"} 1.0' in text
    assert 'lease_held{shard="shardId-000000000001"} 1.0' in text
    assert 'lease_events_total{event="taken"} 2.0' in text
    assert 'sink_write_seconds_count{sink="dead-letters"} 1.0' in text
    assert found["leases_held"] == 2
    assert "+1555" not in text


def test_a_worker_that_drains_into_a_hanging_sink_is_live_but_not_ready(endpoint: str, tmp_path: Path) -> None:
    """It ends in order after somebody reads the pipe that it writes to."""
    with worker(tmp_path, endpoint, "--sink", "stdout:", "--leases", "memory:") as (process, url):
        wait_until(url, "user_records_total", EVENTS)
        assert ask(f"{url}/readyz") == (200, "ready\n")
        process.terminate()
        assert wait_for(f"{url}/readyz", 503) == "draining\n"
        assert ask(f"{url}/livez") == (200, "live\n")
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(out.splitlines()) == EVENTS


def test_a_port_in_use_is_one_line_and_exit_code_2(endpoint: str, tmp_path: Path) -> None:
    """Nothing has started by then."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*RUN, "--endpoint-url", endpoint, "--http", f"127.0.0.1:{port}"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert json.loads(done.stderr)["event"] == (
        f"call-consumer: --http 127.0.0.1:{port}: address already in use; choose another address or port"
    )
    assert list(tmp_path.iterdir()) == []
