"""Release the rows of the lease table when a worker ends."""

import random
from types import SimpleNamespace
from typing import cast

import structlog

from consumer.fleet.coordinator import Coordinator
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, NextOwner, WorkerIdentity
from consumer.leases.lease import handed_on, taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.runtime.scheduler import Scheduler
from consumer.shard.context import ShardContext

ME, NAMESAKE, PEER = WorkerIdentity("me", "2"), WorkerIdentity("me", "1"), WorkerIdentity("peer", "1")


def test_a_draining_worker_releases_offers_to_it_but_no_lease_of_a_duplicate() -> None:
    """Of two workers with one id, the one that ends must not release the leases of the other."""
    table = MemoryLeaseTable()
    names = ["held by us", "held by a namesake", "offered to us", "a peer's"]
    rows = [Lease(name) for name in names]
    for row in rows:
        table.create(row)
    mine, namesakes, offered, peers = rows
    offer = handed_on(offered, PEER, NextOwner("me"))
    table.write(
        [
            Change(mine, taken(mine, ME)),
            Change(namesakes, taken(namesakes, NAMESAKE)),
            Change(offered, offer),
            Change(peers, taken(peers, PEER)),
        ]
    )
    world = SimpleNamespace(rng=random.Random(1), log=structlog.get_logger(), clock=lambda: 0.0)
    holdings = RunningShards(Fleet(ME), table, cast(ShardContext, world), InitialPosition(), cast(Scheduler, None))
    Coordinator(holdings, cast(Scheduler, None)).decline_offers()
    assert [row.owner for row in table.read(names)] == [None, "me", None, "peer"]
