"""Decide when a run with --until-caught-up ends, and log why it does not."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import structlog

from consumer.errors import StreamUnavailable
from consumer.fleet.caught_up import FIRST_LINE, NO_PROGRESS, CaughtUp
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Lease, LeaseTable, WorkerIdentity
from consumer.leases.lease import taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END, Fetched
from tests.unit.fakes import ME
from tests.unit.shard.test_consumer import NOW, Bench, records
from tests.unit.worlds import Unscheduled

UNTIL = NOW + timedelta(seconds=500)
LATER = UNTIL + timedelta(seconds=60)
PEER = WorkerIdentity("peer", "x")


class Run:
    """A run that reads one shard, with a lease table that may have more."""

    def __init__(self, *rows: Lease, most_leases: int = 10, table: LeaseTable | None = None) -> None:
        self.bench = Bench()
        self.rows = rows
        world = replace(self.bench.consumer._context, log=structlog.get_logger())
        fleet = Fleet(ME, most_leases=most_leases, until=UNTIL)
        self.running_shards = RunningShards(fleet, table or self.bench.table, world, InitialPosition(), Unscheduled())
        self.running_shards.rows.confirm([*self.bench.table.scan(), *rows])
        self.running_shards.running = {self.bench.consumer.shard_id: self.bench.consumer}
        self.bench.held_lease.read_to = LATER
        self.caught_up = CaughtUp(self.running_shards)

    def judge(self, seconds: float, step: float = 1.0) -> list[Mapping[str, Any]]:
        """Step once a second for `seconds`. Return the log lines with their times."""
        told: list[Mapping[str, Any]] = []
        mine = self.bench.table.scan()
        for second in range(int(seconds / step)):
            with structlog.testing.capture_logs() as lines:
                self.done = self.caught_up.judge([*mine, *self.rows], second * step)
            told += [{**line, "at": second * step} for line in lines]
        return told


def test_a_run_ends_when_every_shard_is_read_by_any_worker() -> None:
    """Ended shards count as read, and nothing is logged."""
    peers = replace(taken(Lease("peers"), PEER), read_to=LATER)
    run = Run(peers, replace(Lease("ended"), checkpoint=SHARD_END))
    assert run.judge(100) == []
    assert run.done


def test_a_shard_that_this_worker_reads_is_not_logged() -> None:
    """The progress of a backlog is logged elsewhere."""
    run = Run()
    for second in range(20):
        run.bench.held_lease.read_to = NOW + timedelta(seconds=second)
        assert run.judge(NO_PROGRESS) == []
    assert not run.done


def test_a_shard_that_this_worker_reads_without_progress_is_logged_with_its_lag() -> None:
    """Its responses are empty, and their lag never falls."""
    run = Run()
    run.bench.stream.answers = [Fetched([], "next", 5000) for _ in range(3)]
    run.bench.run(3)
    run.bench.held_lease.read_to = None
    [line] = run.judge(NO_PROGRESS + 15)
    assert line["at"] == NO_PROGRESS + FIRST_LINE
    assert line["waits_for"] == ["shard: it has no new records, and the stream reports a lag of 5000 ms"]
    assert not run.done


def test_a_shard_whose_records_are_not_delivered_is_logged() -> None:
    """The sink may hang."""
    run = Run()
    run.bench.held_lease.read_to = None
    run.bench.stream.answers = [records(1, 2)]
    run.bench.run(2)
    assert run.judge(NO_PROGRESS + 15)[0]["waits_for"] == ["shard: the sink has not taken its fetched records yet"]


@pytest.mark.parametrize(
    ("row", "most_leases", "says"),
    [
        (Lease("free"), 1, "free: no worker reads it, and --max-leases is 1 here"),
        (Lease("free"), 10, "free: no worker reads it yet"),
        (taken(Lease("peers"), PEER), 10, "peers: held by worker peer, which has read nothing yet"),
        (replace(taken(Lease("peers"), PEER), read_to=NOW), 10, "which has read up to 2026-01-01T00:00:00.000Z"),
    ],
)
def test_a_run_that_waits_for_a_shard_logs_the_reason(row: Lease, most_leases: int, says: str) -> None:
    """The line has the shard and what would help."""
    run = Run(row, most_leases=most_leases)
    [line] = run.judge(15)
    assert (line["event"], line["log_level"], line["shards"]) == ("caught_up.waiting", "warning", 1)
    assert says in line["waits_for"][0]
    assert not run.done


def test_a_shard_that_waits_for_its_parents_is_not_logged_beside_them() -> None:
    """The parents are the reason."""
    run = Run(taken(Lease("parent"), PEER), replace(Lease("child"), parents=("parent",)))
    [line] = run.judge(15)
    assert [reason.partition(":")[0] for reason in line["waits_for"]] == ["parent"]


def test_a_halted_or_undelivered_shard_logs_its_error() -> None:
    """The line has the location of a defect, or the text of a failure."""
    run = Run()
    run.bench.held_lease.read_to = None
    run.bench.stream.answers = [records(1, data=b"boom") for _ in range(30)]
    run.bench.run()
    assert "halted by ZeroDivisionError at test_consumer.py:" in run.judge(15)[0]["waits_for"][0]
    other = Run()
    other.bench.held_lease.read_to = None
    other.bench.stream.answers = [StreamUnavailable("the stream is down")] * 30
    other.bench.run()
    assert "the stream is down" in other.judge(15)[0]["waits_for"][0]


class Damaged(MemoryLeaseTable):
    """A lease table with a row that cannot be read."""

    def unreadable(self) -> Mapping[str, str]:
        return {"torn": "it has no checkpoint"}


def test_a_damaged_row_keeps_the_run_from_ending_and_is_named() -> None:
    """It is unknown whether its shard has ended."""
    run = Run(table=Damaged())
    [line] = run.judge(15)
    assert "torn: its row in the lease table is damaged: it has no checkpoint" in line["waits_for"][0]
    assert not run.done


def test_a_stream_that_was_never_listed_keeps_the_run_from_ending() -> None:
    """It may have more shards than the table has rows."""
    run = Run()
    run.running_shards.rows.discovered = False
    assert "has not been listed" in run.judge(15)[0]["waits_for"][0]
    assert not run.done


def test_lines_become_rarer_and_name_few_of_many_shards() -> None:
    """A long wait must not fill the log."""
    run = Run(*(Lease(f"free-{number}") for number in range(8)), most_leases=1)
    lines = run.judge(200)
    assert [line["at"] for line in lines] == [10.0, 30.0, 70.0, 150.0]
    assert (lines[0]["shards"], len(lines[0]["waits_for"]), lines[0]["more"]) == (8, 5, 3)
    last = run.judge(20_000)[-3:]
    assert [later["at"] - sooner["at"] for sooner, later in pairwise(last)] == [600.0, 600.0]
