"""Finish a take that is under way when the drain begins, and release its lease."""

from collections.abc import Callable, Sequence

from consumer.fleet.coordinator import Coordinator
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, Written
from consumer.runtime.scheduler import Lane, Task
from tests.unit.fakes import ME, JournalTable
from tests.unit.shard.test_consumer import Bench


class Steps:
    """A scheduler whose due tasks the test steps."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def add(self, task: Task, lane: Lane) -> None:
        self.tasks.append(task)

    def wake(self, task: Task) -> None:
        """Do nothing, because every task is stepped."""

    def step(self, now: float) -> None:
        """Step each task once."""
        for task in list(self.tasks):
            if task.step(now) is None:
                self.tasks.remove(task)


class SlowTable(JournalTable):
    """A table that calls a function while leases are taken."""

    during: Callable[[], None] = lambda: None

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        if any(change.after.owner == ME.worker_id != change.before.owner for change in changes):
            self.during()
        return super().write(changes)


def test_a_take_under_way_is_finished_and_its_lease_released() -> None:
    """Otherwise the row names an ended worker, and no worker reads the shard until the lease expires."""
    bench, scheduler = Bench(), Steps()
    table = SlowTable(bench.journal)
    for number in range(40):  # more leases than one take allows, so the others are not begun
        table.create(Lease(f"shard-{number}"))
    coordinator = Coordinator(
        RunningShards(Fleet(ME), table, bench.consumer._context, InitialPosition(), scheduler), scheduler
    )
    seen: list[bool] = []

    def told_to_leave() -> None:
        coordinator.drain(0.0)
        seen.append(coordinator.finished)

    table.during = told_to_leave
    coordinator._balancer.step(bench.clock())
    assert seen == [False]
    assert 0 < coordinator.leases < 40
    for _ in range(20):
        bench.clock.advance(1.0)
        scheduler.step(bench.clock())
    assert coordinator.finished
    assert {row.owner for row in table.scan()} == {None}
