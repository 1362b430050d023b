"""Scan the lease table, accept offers, and hand off leases at the end."""

import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from consumer.fleet.assignment import OFFER_STANDS, View, plan
from consumer.fleet.balancer import Balancer
from consumer.fleet.incoming import REFRESH_INTERVAL
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.liveness import Liveness
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, NextOwner, Token, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END
from consumer.runtime.clock import Clock
from consumer.runtime.scheduler import Scheduler
from consumer.shard.context import ShardContext
from consumer.shard.held_lease import HeldLease
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.outages import Outages


class CountingTable(MemoryLeaseTable):
    """A table that counts its scans."""

    scans = 0

    def scan(self) -> Any:
        self.scans += 1
        return super().scan()


class KclTable(CountingTable):
    """A table with a lease of a KCL worker whose metrics row is fresh."""

    def assignees(self) -> Any:
        return ["kcl-1"]


PEER = WorkerIdentity("peer", "2")


def peers(table: MemoryLeaseTable, shard_id: str, wanted_by: str | None = None) -> Lease:
    """Return a row that a peer holds."""
    row = steps.taken(Lease(shard_id), PEER)
    table.create(replace(row, wanted_by=wanted_by))
    return replace(row, wanted_by=wanted_by)


def renew(table: MemoryLeaseTable, row: Lease) -> Lease:
    [written] = table.write([Change(row, steps.renewed(row, PEER, None))])
    assert written.row is not None
    return written.row


class Idle(RunningShards):
    """A fleet that reads nothing."""

    def read(self, held_lease: HeldLease) -> None:
        """Read nothing."""


def balance_over(table: MemoryLeaseTable, most_leases: int, clock: Clock = lambda: 0.0) -> Balancer:
    log = structlog.get_logger()
    outages = Outages(log, clock)
    world = SimpleNamespace(rng=random.Random(1), log=log, clock=clock, metrics=Metrics(), outages=outages)
    fleet = Fleet(WorkerIdentity("me", "1"), lease_duration=10.0, most_leases=most_leases)
    return Balancer(Idle(fleet, table, cast(ShardContext, world), InitialPosition(), cast(Scheduler, None)))


def test_shards_to_read_and_shards_of_peers_are_counted() -> None:
    """Ended shards, children that wait, and shards of a dead worker do not count as read."""
    now = [0.0]
    table = CountingTable()
    for lease in (
        Lease("free"),
        Lease("theirs", owner="peer"),
        Lease("ended", SHARD_END),
        Lease("waits", parents=("free",), owner="peer"),
    ):
        table.create(lease)
    balance = balance_over(table, most_leases=0, clock=lambda: now[0])
    metrics = balance._running_shards.context.metrics
    balance.step(0.0)
    assert (metrics.shards_to_read, metrics.shards_read) == (2, 1)
    for _ in range(20):
        now[0] += 1.0
        balance.step(now[0])
    assert (metrics.shards_to_read, metrics.shards_read) == (2, 0)


def test_a_small_table_is_scanned_with_every_step() -> None:
    """An offer is then seen within a probe interval."""
    table = CountingTable()
    table.create(Lease("shardId-000000000000"))
    balance, now = balance_over(table, most_leases=0), 0.0
    for step in range(1, 50):
        delay = balance.step(now)
        assert table.scans == step
        assert 0.8 <= delay <= 1.0
        now += delay


def offered(lease: Lease, next_owner: str) -> Lease:
    return steps.handed_on(lease, PEER, NextOwner(next_owner))


def test_a_requested_lease_is_checked_often_and_accepted_at_once() -> None:
    """The old owner reads no more after its offer, so a delay is a gap."""
    table, now = CountingTable(), 0.0
    row = peers(table, "shardId-000000000000", wanted_by="me")
    balance = balance_over(table, most_leases=1, clock=lambda: now)
    now += balance.step(now)
    assert now == pytest.approx(REFRESH_INTERVAL)
    table.write([Change(row, offered(row, "me"))])
    balance.step(now)
    assert [row.token for row in table.scan()] == [Token("me", "1", row.counter + 2)]
    assert table.scans == 2  # the scan of the first step, and ours


def test_a_busy_owner_is_checked_often_only_for_one_lease() -> None:
    """After that, the scan of each step is enough."""
    table, now, looks = CountingTable(), 0.0, 0
    row = peers(table, "shardId-000000000000", wanted_by="me")
    balance = balance_over(table, most_leases=1, clock=lambda: now)
    while now < 30.0:
        now, looks = now + balance.step(now), looks + 1
        row = renew(table, row)
    assert looks < 10 / REFRESH_INTERVAL + 30 / 0.8


def test_a_full_worker_accepts_no_more_leases() -> None:
    """This includes leases that it requested earlier."""
    table, now = CountingTable(), 0.0
    rows = [peers(table, f"shardId-00000000000{number}", wanted_by="me") for number in range(2)]
    balance = balance_over(table, most_leases=0, clock=lambda: now)
    now += balance.step(now)
    table.write([Change(row, offered(row, "me")) for row in rows])
    balance.step(now)
    assert {row.token and row.token.worker_id for row in table.scan()} == {"peer"}


def test_a_draining_worker_withdraws_its_requests_and_accepts_no_offers() -> None:
    """Otherwise leases would go to a worker that has ended."""
    table, now = CountingTable(), 0.0
    rows = [peers(table, f"shardId-00000000000{number}", wanted_by="me") for number in range(2)]
    balance = balance_over(table, most_leases=2, clock=lambda: now)
    now += balance.step(now)
    balance._running_shards.draining = True
    table.write([Change(rows[0], offered(rows[0], "me"))])
    renew(table, rows[1])  # makes the last scan old
    balance.step(now)
    assert [(row.owner, row.wanted_by) for row in table.scan()] == [(None, None), ("peer", None)]


def test_a_worker_that_does_not_accept_an_offer_is_not_alive() -> None:
    """It gets no share, and its lease is taken after two seconds."""
    mine = steps.taken(Lease("shardId-000000000000"), WorkerIdentity("me", "1"))
    given = offered(steps.taken(Lease("shardId-000000000001"), PEER), "gone")
    watch = Liveness(10.0)
    for now, taken in ((0.0, []), (OFFER_STANDS - 0.1, []), (OFFER_STANDS, [given])):
        watch.observe([mine, given], now)
        view = View(WorkerIdentity("me", "1"), {mine.shard_id}, now, most_leases=9, most_moves=9)
        assert list(plan([mine, given], watch, view).take) == taken


@pytest.mark.parametrize(("old_owner", "owner"), [("kcl-1", "kcl-1"), (None, "1")])
def test_a_lease_assigned_by_a_kcl_is_taken_after_its_old_owner_finished(old_owner: str | None, owner: str) -> None:
    """The row names us already, but the old owner checkpoints until `checkpointOwner` is gone."""
    table, now = CountingTable(), 0.0
    table.create(Lease("shardId-000000000000", owner="me", checkpoint_owner=old_owner))
    balance = balance_over(table, most_leases=1, clock=lambda: now)
    for _ in range(10):  # steps and scans within one lease
        now += balance.step(now)
    [row] = table.scan()
    assert owner == (row.token.start if row.token else row.checkpoint_owner)


def test_nothing_is_assigned_to_a_dead_kcl_worker() -> None:
    """Its metrics row stays fresh for a minute, but its lease expired and was taken."""
    table = KclTable()
    table.create(Lease("shardId-000000000000", owner="kcl-1"))
    now = 0.0
    balance = balance_over(table, most_leases=1, clock=lambda: now)
    balance.step(now)
    assert [next_owner.worker_id for next_owner in balance.next_owners()] == ["kcl-1"]
    while [row.owner for row in table.scan()] == ["kcl-1"]:
        assert now < 15
        now += balance.step(now)
    assert not balance.next_owners()
