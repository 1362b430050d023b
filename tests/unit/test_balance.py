"""How often a worker looks at the whole lease table, and to whom it hands its leases when it leaves."""

import random
from types import SimpleNamespace
from typing import Any, cast

import structlog

from consumer.engine.balance import Balance
from consumer.engine.holdings import Fleet, Holdings
from consumer.engine.lineage import Origin
from consumer.engine.scheduler import Clock, Scheduler
from consumer.engine.surroundings import Surroundings
from consumer.engine.tenure import Tenure
from consumer.leases import Lease, Worker
from consumer.leases.memory import MemoryLeaseTable
from consumer.telemetry.metrics import Metrics


class CountingTable(MemoryLeaseTable):
    """Counts its scans."""

    scans = 0

    def scan(self) -> Any:
        self.scans += 1
        return super().scan()


class KclTable(CountingTable):
    """Holds a lease of a KCL's worker, whose metrics row is fresh."""

    def assignees(self) -> Any:
        return ["kcl-1"]


class Idle(Holdings):
    """Reads nothing."""

    def read(self, tenure: Tenure) -> None:
        """Leave it."""


def balance_over(table: MemoryLeaseTable, most_leases: int, clock: Clock = lambda: 0.0) -> Balance:
    world = SimpleNamespace(rng=random.Random(1), log=structlog.get_logger(), clock=clock, metrics=Metrics())
    fleet = Fleet(Worker("me", "1"), lease_duration=10.0, most_leases=most_leases)
    return Balance(Idle(fleet, table, cast(Surroundings, world), Origin(), cast(Scheduler, None)))


def test_a_small_table_is_scanned_with_every_step() -> None:
    """So an offer is seen within a probe interval, however the steps fall."""
    table = CountingTable()
    table.create(Lease("shardId-000000000000"))
    balance, now = balance_over(table, most_leases=0), 0.0
    for step in range(1, 50):
        delay = balance.step(now)
        assert table.scans == step
        assert 0.8 <= delay <= 1.0
        now += delay


def test_nothing_is_assigned_to_a_kcl_worker_that_has_died() -> None:
    """Its metrics row is fresh for a minute, but its lease has run out and was taken."""
    table = KclTable()
    table.create(Lease("shardId-000000000000", owner="kcl-1"))
    now = 0.0
    balance = balance_over(table, most_leases=1, clock=lambda: now)
    balance.step(now)
    assert [heir.worker_id for heir in balance.heirs()] == ["kcl-1"]
    while [row.owner for row in table.scan()] == ["kcl-1"]:
        assert now < 15
        now += balance.step(now)
    assert not balance.heirs()
