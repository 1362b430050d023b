"""End a run by signals, a closed pipe, or the end of the stream, with real processes on kinesis-local."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import (
    STREAM,
    environment,
    expected,
    ids,
    in_sqlite,
    logged,
    merge,
    owners,
    put,
    run,
    split,
    start,
    wait_until,
    worker,
)

QUICK = ("--lease-duration", "1.5")


def event_ids(file: Path) -> list[str]:
    return [json.loads(line)["event_id"] for line in file.read_text().splitlines()]


def delivered(directory: Path, sink: str) -> list[str]:
    """Return the rows of a sink."""
    if sink == "stdout:":
        return event_ids(directory / "out")
    return ids(directory / "rows") if sink.startswith("jsonl") else in_sqlite(directory)


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_an_unread_standard_output_delays_the_end_only_until_the_deadline(
    kinesis: Any, endpoint: str, tmp_path: Path, blocking: bool
) -> None:
    """The write may hang forever. The deadline ends the process, which reports what is left."""
    put(kinesis, range(1000), per_record=10)
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    process = start(tmp_path, endpoint, "--sink", "stdout:", *QUICK, "--shutdown-timeout", "3", stdout=writing)
    os.close(writing)
    assert os.read(reading, 1)
    time.sleep(1.0)  # a real process against a real clock: let it fill the pipe
    began = time.monotonic()
    process.terminate()
    try:
        assert process.wait(15) == 3, logged(tmp_path)
        assert 2 < time.monotonic() - began < 8
    finally:
        process.kill()
        os.close(reading)


@pytest.mark.parametrize("sink", ["stdout:", "jsonl:rows", "sqlite:rows.db"])
def test_sigterm_under_load_is_quick_and_the_next_start_repeats_nothing(
    kinesis: Any, endpoint: str, tmp_path: Path, sink: str
) -> None:
    """It exits with 0 in under five seconds."""
    put(kinesis, range(3000), per_record=10)
    with (tmp_path / "out").open("ab") as out:
        first = start(tmp_path, endpoint, "--sink", sink, "--batch-rows", "20", stdout=out)
        wait_until(lambda: "lease.taken" in logged(tmp_path))
        time.sleep(0.5)  # a real process against a real clock: let it read
        began = time.monotonic()
        first.terminate()
        assert first.wait(10) == 0, logged(tmp_path)
        assert time.monotonic() - began < 5
        arguments = worker(tmp_path, endpoint, "--sink", sink, "--until-caught-up")
        second = subprocess.run(
            arguments, cwd=tmp_path, env=environment(), stdout=out, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert second.returncode == 0
    assert sorted(delivered(tmp_path, sink)) == expected(3000)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_process_at_once(
    kinesis: Any, endpoint: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The sink hangs, because no process reads the pipe."""
    put(kinesis, range(1000), per_record=50)
    reading, writing = os.pipe()
    process = start(tmp_path, endpoint, "--sink", "stdout:", stdout=writing)
    wait_until(lambda: "lease.taken" in logged(tmp_path))
    time.sleep(1.5)  # until the pipe is full
    process.send_signal(number)
    wait_until(lambda: "worker.draining" in logged(tmp_path))
    time.sleep(0.3)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == code
    assert time.monotonic() - began < 1
    os.close(reading)
    os.close(writing)


def test_a_closed_pipe_exits_with_0_and_checkpoints_only_written_rows(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """With `| head -1`, the next run writes the rest."""
    put(kinesis, range(2000), per_record=10)
    arguments = worker(tmp_path, endpoint, "--sink", "stdout:", "--batch-rows", "50")
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read = [json.loads(process.stdout.readline())["event_id"]]
        process.stdout.close()
        began = time.monotonic()
        assert process.wait(20) == 0, process.stderr.read()
        assert time.monotonic() - began < 10
        assert b"written" in process.stderr.read().splitlines()[-1]
    again = run(tmp_path, endpoint, "--sink", "stdout:", "--until-caught-up")
    rest = [json.loads(line)["event_id"] for line in again.stdout.splitlines()]
    assert max(Counter(rest).values()) == 1
    assert len(rest) < 2000
    # A batch that the pipe accepted but no process read counts as written; all later rows are delivered again.
    assert len(set(rest)) >= 2000 - 4 * 50
    assert set(rest) | set(read) <= set(expected(2000))


def test_a_finite_run_reads_ended_shards_and_their_children(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Parents come before children."""
    put(kinesis, range(100))
    split(kinesis)
    put(kinesis, range(100, 200))
    merge(kinesis)
    put(kinesis, range(200, 300))
    done = run(tmp_path, endpoint, "--sink", "stdout:", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["event_id"] for row in rows) == expected(300)
    where: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        where.setdefault(row["shard_id"], []).append(index)
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        for parent in (shard.get("ParentShardId"), shard.get("AdjacentParentShardId")):
            if parent in where and shard["ShardId"] in where:
                assert max(where[parent]) < min(where[shard["ShardId"]])


def test_a_finite_run_takes_the_leases_of_a_dead_worker_and_waits_for_a_live_one(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """Together they read all records."""
    arguments = ["--sink", "sqlite:rows.db", *QUICK]
    dead = start(tmp_path, endpoint, *arguments, "--worker-id", "dead")
    alive = start(tmp_path, endpoint, *arguments, "--worker-id", "alive")
    try:
        wait_until(lambda: sorted(owners(tmp_path).values()) == [2, 2])
        dead.kill()
        dead.wait()
        put(kinesis, range(200))
        done = run(tmp_path, endpoint, *arguments, "--until-caught-up")
        assert done.returncode == 0, done.stderr
        assert sorted(in_sqlite(tmp_path)) == expected(200)
    finally:
        alive.terminate()
        assert alive.wait(10) == 0


def test_a_finite_run_ends_on_an_empty_stream_and_at_latest(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """LATEST is the instant of the first start, and a later --from does not change it."""
    first = run(tmp_path, endpoint, "--until-caught-up", "--from", "latest")
    assert first.returncode == 0, first.stderr
    assert "fetched 0" in first.stderr
    put(kinesis, range(10))
    second = run(tmp_path, endpoint, "--until-caught-up", "--from", "latest", "--log-level", "info")
    assert len(second.stdout.splitlines()) == 10
    assert "--from is ignored" in second.stderr


def test_dead_letters_fail_the_run_with_the_flag_and_never_appear_in_the_log(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """This holds at every level, also for botocore's log."""
    put(kinesis, range(5))
    kinesis.put_record(StreamName=STREAM, PartitionKey="+15550100001", Data=b"secret +15550100002")
    done = run(tmp_path, endpoint, "--until-caught-up", "--fail-on-dead-letters", "--log-level", "debug")
    assert done.returncode == 1
    assert "dead letters 1" in done.stderr.splitlines()[-1]
    for line in done.stderr.splitlines()[:-1]:
        json.loads(line)
    for personal in ("secret", "+1555", "15550100", "c2VjcmV0", "CA0000"):
        assert personal not in done.stderr


def test_a_run_starts_at_a_given_time_or_age(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Earlier records are left out."""
    put(kinesis, range(5))
    time.sleep(2.1)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    put(kinesis, range(5, 12))
    by_time = run(tmp_path, endpoint, "--until-caught-up", "--from", since, "--application", "a")
    by_age = run(tmp_path, endpoint, "--until-caught-up", "--from", "2h", "--application", "b")
    assert len(by_time.stdout.splitlines()) == 7
    assert len(by_age.stdout.splitlines()) == 12
