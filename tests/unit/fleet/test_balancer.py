"""Test how often a worker reads the lease table, what it takes, and which next owners it offers its leases to."""

from dataclasses import replace
from typing import Any

import pytest

from consumer.fleet.assignment import View, plan
from consumer.fleet.balancer import Balancer, create_balancer
from consumer.fleet.incoming import REFRESH_INTERVAL
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lease_timings import LeaseTimings
from consumer.fleet.liveness import Liveness
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, NextOwner, Token, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END
from tests.unit.clocks import FakeClock
from tests.unit.fakes import shard_context
from tests.unit.worlds import Unscheduled

ME, PEER = WorkerIdentity("me", "1"), WorkerIdentity("peer", "2")
TIMINGS = LeaseTimings(10.0)


class CountingTable(MemoryLeaseTable):
    """A lease table that counts its scans."""

    scans = 0

    def scan(self) -> Any:
        self.scans += 1
        return super().scan()


class KclTable(CountingTable):
    """A lease table in which a KCL worker has a fresh metrics row."""

    def assignees(self) -> Any:
        return ["kcl-1"]


def held_by_peer(table: MemoryLeaseTable, shard_id: str, wanted_by: str | None = None) -> Lease:
    """Create a row that a peer holds."""
    row = replace(steps.taken(Lease(shard_id), PEER), wanted_by=wanted_by)
    table.create(row)
    return row


def renew(table: MemoryLeaseTable, row: Lease) -> Lease:
    [written] = table.write([Change(row, steps.renewed(row, PEER, None))])
    assert written.row is not None
    return written.row


def offered(lease: Lease, next_owner: str) -> Lease:
    return steps.handed_off(lease, PEER, NextOwner(next_owner))


class IdleShards(RunningShards):
    """Shards that are taken and never read."""

    def read(self, row: Lease, sent: float) -> None:
        pass


class Bench:
    """A balancer over a lease table."""

    def __init__(self, table: MemoryLeaseTable, most_leases: int) -> None:
        self.clock = FakeClock(0.0)
        self.context = shard_context(self.clock)
        fleet = Fleet(ME, TIMINGS.lease_duration, most_leases=most_leases)
        self.running_shards = IdleShards(fleet, table, self.context, InitialPosition(), Unscheduled())
        self.balancer: Balancer = create_balancer(self.running_shards)

    def step(self) -> float:
        """Make one step, and let the time pass until the next one; return it in seconds."""
        delay = self.balancer.step(self.clock())
        self.clock.advance(delay)
        return delay


def test_shards_to_read_and_shards_that_others_read_are_counted() -> None:
    """Do not count ended shards, children that wait for a parent, and shards of a dead worker as read."""
    table = CountingTable()
    for lease in (
        Lease("free"),
        Lease("theirs", owner="peer"),
        Lease("ended", SHARD_END),
        Lease("waits", parents=("free",), owner="peer"),
    ):
        table.create(lease)
    bench = Bench(table, most_leases=0)
    metrics = bench.context.metrics
    bench.step()
    assert (metrics.shards_to_read, metrics.shards_read) == (2, 1)
    while bench.clock() < 20.0:
        bench.step()
    assert (metrics.shards_to_read, metrics.shards_read) == (2, 0)


def test_a_small_table_is_scanned_with_every_step() -> None:
    """So an offer is seen within one balance interval."""
    table = CountingTable()
    table.create(Lease("shardId-000000000000"))
    bench = Bench(table, most_leases=0)
    for step in range(1, 50):
        assert 0.8 <= bench.step() <= 1.0
        assert table.scans == step


def test_a_requested_lease_is_read_often_and_accepted_at_once() -> None:
    """The old owner has stopped reading when it offers the lease, so the time until then is a gap."""
    table = CountingTable()
    row = held_by_peer(table, "shardId-000000000000", wanted_by="me")
    bench = Bench(table, most_leases=1)
    assert bench.step() == pytest.approx(REFRESH_INTERVAL)
    table.write([Change(row, offered(row, "me"))])
    bench.step()
    assert [row.token for row in table.scan()] == [Token("me", "1", row.counter + 2)]
    assert table.scans == 2  # one by the first step, one by this test


def test_a_requested_lease_is_read_often_for_one_lease_duration_only() -> None:
    """Its owner may be busy for hours, and then one read per step must do."""
    table, steps_made = CountingTable(), 0
    row = held_by_peer(table, "shardId-000000000000", wanted_by="me")
    bench = Bench(table, most_leases=1)
    while bench.clock() < 30.0:
        bench.step()
        steps_made += 1
        row = renew(table, row)
    assert steps_made < 10 / REFRESH_INTERVAL + 30 / 0.8


def test_a_full_worker_accepts_no_offer() -> None:
    """Also if it requested the lease when it had room."""
    table = CountingTable()
    rows = [held_by_peer(table, f"shardId-00000000000{number}", wanted_by="me") for number in range(2)]
    bench = Bench(table, most_leases=0)
    bench.step()
    table.write([Change(row, offered(row, "me")) for row in rows])
    bench.step()
    assert {row.token and row.token.worker_id for row in table.scan()} == {"peer"}


def test_a_draining_worker_withdraws_its_requests_and_declines_offers() -> None:
    """Otherwise the next owner would be a worker that has ended, and peers would have to find that out."""
    table = CountingTable()
    rows = [held_by_peer(table, f"shardId-00000000000{number}", wanted_by="me") for number in range(2)]
    bench = Bench(table, most_leases=2)
    bench.step()
    bench.running_shards.draining = True
    table.write([Change(rows[0], offered(rows[0], "me"))])
    renew(table, rows[1])  # so the row that the worker has seen is outdated
    bench.step()
    assert [(row.owner, row.wanted_by) for row in table.scan()] == [(None, None), ("peer", None)]


def test_a_worker_that_does_not_accept_an_offer_counts_as_dead() -> None:
    """So no share is kept for it, and the lease is taken once the offer has expired."""
    mine = steps.taken(Lease("shardId-000000000000"), ME)
    given = offered(steps.taken(Lease("shardId-000000000001"), PEER), "gone")
    liveness, expiry = Liveness(TIMINGS), TIMINGS.offer_duration
    for now, taken in ((0.0, []), (expiry - 0.1, []), (expiry, [given])):
        liveness.observe([mine, given], now)
        view = View(ME, {mine.shard_id}, now, most_leases=9, most_moves=9)
        assert list(plan([mine, given], liveness, view).take) == taken


@pytest.mark.parametrize(("old_owner", "owner"), [("kcl-1", "kcl-1"), (None, "1")])
def test_a_lease_is_not_taken_while_checkpoint_owner_is_set(old_owner: str | None, owner: str) -> None:
    """The row names this worker already, but until then the old owner of the KCL delivers and checkpoints."""
    table = CountingTable()
    table.create(Lease("shardId-000000000000", owner="me", checkpoint_owner=old_owner))
    bench = Bench(table, most_leases=1)
    for _ in range(10):  # within the lease duration
        bench.step()
    [row] = table.scan()
    assert owner == (row.token.start if row.token else row.checkpoint_owner)


def test_no_lease_is_assigned_to_a_kcl_worker_that_has_died() -> None:
    """Its metrics row stays fresh for a minute, but its lease has expired and was taken."""
    table = KclTable()
    table.create(Lease("shardId-000000000000", owner="kcl-1"))
    bench = Bench(table, most_leases=1)
    bench.step()
    assert [next_owner.worker_id for next_owner in bench.balancer.next_owners()] == ["kcl-1"]
    while [row.owner for row in table.scan()] == ["kcl-1"]:
        assert bench.clock() < 15
        bench.step()
    assert not bench.balancer.next_owners()
