"""Log damaged rows of the lease table soon after the damage."""

from collections.abc import Mapping
from dataclasses import replace

import structlog
from structlog.testing import CapturingLogger

from consumer.fleet.balancer import create_balancer
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import WorkerIdentity
from consumer.leases.memory import MemoryLeaseTable
from tests.unit.clocks import FakeClock
from tests.unit.fakes import shard_context
from tests.unit.worlds import Unscheduled

AUDIT_INTERVAL = 180.0


class DamagedTable(MemoryLeaseTable):
    """A lease table whose damaged rows a test names."""

    damaged: Mapping[str, str] = {}

    def unreadable(self) -> Mapping[str, str]:
        return self.damaged


def test_a_damaged_row_is_logged_at_the_next_scan_and_then_once_per_interval() -> None:
    """Its shard is not read, so the operator learns it within seconds."""
    table, log, clock = DamagedTable(), CapturingLogger(), FakeClock()
    context = replace(shard_context(clock), log=structlog.wrap_logger(log, processors=[]))
    fleet = Fleet(WorkerIdentity("me", "1"), audit_interval=AUDIT_INTERVAL)
    balancer = create_balancer(RunningShards(fleet, table, context, InitialPosition(), Unscheduled()))

    def logged_within(seconds: float) -> list[str]:
        log.calls.clear()
        for _ in range(int(seconds)):
            clock.advance(1.0)
            balancer.step(clock())
        return [call.kwargs["shard"] for call in log.calls if call.kwargs.get("event") == "lease.unreadable"]

    assert logged_within(10) == []
    table.damaged = {"shard-1": "checkpoint cannot be read"}
    assert logged_within(AUDIT_INTERVAL - 10) == ["shard-1"]
    assert logged_within(20) == ["shard-1"]
    table.damaged = {**table.damaged, "shard-2": "owner cannot be read"}
    assert logged_within(10) == ["shard-1", "shard-2"]
