"""Move checkpoints and replay a part of a stream, with real shards, processes and lease tables."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.records import rfc3339
from tests.integration.workers import (
    STREAM,
    environment,
    expected,
    ids,
    in_sqlite,
    merge,
    new_stream,
    owners,
    put,
    run,
    split,
    start,
    wait_until,
)

COUNT = 600


@pytest.fixture(scope="module")
def stream(endpoint: str) -> Iterator[Any]:
    """A stream of three generations of shards, with 200 events each."""
    with new_stream(endpoint, 2) as client:
        put(client, range(200))
        split(client)
        time.sleep(1.1)
        put(client, range(200, 400), per_record=10)
        time.sleep(1.1)
        merge(client)
        put(client, range(400, COUNT))
        yield client


@pytest.fixture(scope="module")
def read(stream: Any, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a worker has read all of it."""
    directory = tmp_path_factory.mktemp("read")
    done = run(directory, endpoint, "--sink", "sqlite:rows.db", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert sorted(in_sqlite(directory)) == expected(COUNT)
    return directory


def command(directory: Path, endpoint: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    name = 2 if arguments[0] == "checkpoints" else 1
    line = [sys.executable, "-m", "consumer", *arguments[:name], STREAM, "--endpoint-url", endpoint, *arguments[name:]]
    return subprocess.run(
        line,
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def arrived(directory: Path, numbers: range) -> tuple[float, float]:
    """Return when the first and the last of these events arrived, in epoch seconds."""
    database = sqlite3.connect(directory / "rows.db")
    wanted = set(expected(COUNT)[numbers.start : numbers.stop])
    times = [
        datetime.fromisoformat(moment).timestamp()
        for event_id, moment in database.execute("SELECT event_id, arrived_at FROM call_requests")
        if event_id in wanted
    ]
    database.close()
    return min(times), max(times)


def checkpoints(exported: str) -> dict[str, str]:
    """Return the checkpoint of each shard in an export."""
    return {item["shard_id"]: item["checkpoint"] for item in json.loads(exported)["checkpoints"]}


def last_line(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return found


def test_a_replay_reads_exactly_its_part_beside_the_application(read: Path, endpoint: str) -> None:
    """It ends by itself, a second run has nothing to do, and the checkpoints of the application stay."""
    first, last = arrived(read, range(200, 400))
    bounds = ["--from", rfc3339(first - 0.2), "--to", rfc3339(last + 0.2)]
    before = command(read, endpoint, "checkpoints", "show", "--json").stdout
    done = command(read, endpoint, "replay", *bounds, "--sink", "jsonl:again")
    assert done.returncode == 0, done.stderr
    assert sorted(ids(read / "again")) == expected(COUNT)[200:400]
    assert last_line(done)["event"].startswith("replay complete: ")
    assert last_line(done)["written"] == 200
    assert all(".replay-" in file.name for file in (read / "again").rglob("*.jsonl"))
    assert command(read, endpoint, "checkpoints", "show", "--json").stdout == before
    again = command(read, endpoint, "replay", *bounds, "--sink", "jsonl:again")
    assert again.returncode == 0, again.stderr
    assert last_line(again)["written"] == 0
    assert len(ids(read / "again")) == 200


def test_a_reset_to_a_time_reads_the_whole_lineage_again(read: Path, endpoint: str) -> None:
    """It asks, notices a live worker, and a copy undoes it. Then each later event is read once more."""
    first, _ = arrived(read, range(200, 400))
    reset = ["checkpoints", "reset", "--to", rfc3339(first - 0.2)]
    short = ["--lease-duration", "2"]
    assert command(read, endpoint, "checkpoints", "export", "--output", "before.json").returncode == 0
    before = checkpoints((read / "before.json").read_text())
    refused = command(read, endpoint, *reset)
    assert refused.returncode == 2
    assert "pass --yes to continue" in refused.stderr
    assert "of records are read again" in refused.stderr
    assert command(read, endpoint, *reset, "--dry-run").returncode == 0
    live = start(read, endpoint, "--sink", "sqlite:rows.db", *short)
    try:
        wait_until(lambda: owners(read))
        noticed = command(read, endpoint, *reset, "--yes", *short)
        assert noticed.returncode == 2
        assert "is live and owns" in noticed.stderr
    finally:
        live.terminate()
        assert live.wait(10) == 0
    assert checkpoints(command(read, endpoint, "checkpoints", "export").stdout) == before
    assert command(read, endpoint, *reset, "--yes").returncode == 0
    assert command(read, endpoint, "checkpoints", "import", "before.json", "--yes").returncode == 0
    assert checkpoints(command(read, endpoint, "checkpoints", "export").stdout) == before
    assert command(read, endpoint, *reset, "--yes").returncode == 0
    done = run(read, endpoint, "--sink", "sqlite:rows.db", "--until-caught-up")
    assert last_line(done)["repeated"] == COUNT - 200
    assert sorted(in_sqlite(read)) == expected(COUNT)
