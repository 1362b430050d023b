"""Read real shards of kinesis-local with real processes and signals."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import expected, ids, in_sqlite, merge, owners, put, run, split, start, wait_until


@pytest.mark.parametrize("sink", ["jsonl:rows", "sqlite:rows.db"])
def test_a_split_and_a_merge_during_a_run_lose_nothing(kinesis: Any, endpoint: str, tmp_path: Path, sink: str) -> None:
    """Plain and aggregated events arrive once each, over three generations of shards."""
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
    """The files contain each event once."""
    put(kinesis, range(400))
    made = 400
    for attempt in range(4):
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


def test_a_worker_takes_over_the_shards_of_a_killed_one(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """They share one SQLite lease table, and failover takes at most the lease and five seconds."""
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


def test_a_frozen_worker_that_wakes_repeats_nothing(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """It is stopped for three leases while another one takes over, then continued."""
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


def test_the_second_of_two_live_workers_with_one_id_ends(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """It exits with 2 and one line, and the first continues."""
    arguments = ["--sink", "jsonl:rows", "--lease-duration", "3", "--worker-id", "twin"]
    first = start(tmp_path, endpoint, *arguments)
    try:
        wait_until(lambda: owners(tmp_path) == {"twin": 4})
        second = run(tmp_path, endpoint, *arguments)
        assert second.returncode == 2
        assert "another live worker has the id 'twin'" in second.stderr
        assert "Traceback" not in second.stderr
        assert owners(tmp_path) == {"twin": 4}
        assert first.poll() is None
    finally:
        first.terminate()
        assert first.wait(10) == 0
