"""Test which rows a worker changes in the lease table when it ends."""

from consumer.fleet.coordinator import Coordinator
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, NextOwner, WorkerIdentity
from consumer.leases.lease import handed_off, taken
from consumer.leases.memory import MemoryLeaseTable
from tests.unit.clocks import FakeClock
from tests.unit.fakes import shard_context
from tests.unit.worlds import Unscheduled

ME, DUPLICATE, PEER = WorkerIdentity("me", "2"), WorkerIdentity("me", "1"), WorkerIdentity("peer", "1")


def test_declining_offers_releases_offers_to_us_and_no_lease_of_a_duplicate_worker() -> None:
    """If two workers have one id, the one that must end must not cost the other its leases."""
    table = MemoryLeaseTable()
    names = ["held by us", "held by a duplicate", "offered to us", "held by a peer"]
    rows = [Lease(name) for name in names]
    for row in rows:
        table.create(row)
    mine, duplicates, offered, peers = rows
    table.write(
        [
            Change(mine, taken(mine, ME)),
            Change(duplicates, taken(duplicates, DUPLICATE)),
            Change(offered, handed_off(offered, PEER, NextOwner("me"))),
            Change(peers, taken(peers, PEER)),
        ]
    )
    scheduler = Unscheduled()
    running_shards = RunningShards(Fleet(ME), table, shard_context(FakeClock()), InitialPosition(), scheduler)
    Coordinator(running_shards, scheduler).decline_offers()
    assert [row.owner for row in table.read(names)] == [None, "me", None, "peer"]
