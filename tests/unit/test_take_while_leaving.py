"""A take that is under way when the worker begins to leave is finished, and its lease released."""

from collections.abc import Callable, Sequence

from consumer.fleet.coordinator import Coordinator
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, Written
from consumer.runtime.scheduler import Lane, Task
from tests.unit.fakes import ME, JournalTable
from tests.unit.test_shard_consumer import Bench


class Steps:
    """A scheduler whose tasks the test steps, each when it says so."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def add(self, task: Task, lane: Lane) -> None:
        self.tasks.append(task)

    def wake(self, task: Task) -> None:
        """It is stepped anyway."""

    def step(self, now: float) -> None:
        """Step what there is, once."""
        for task in list(self.tasks):
            if task.step(now) is None:
                self.tasks.remove(task)


class SlowTable(JournalTable):
    """Lets something happen while leases are taken."""

    during: Callable[[], None] = lambda: None

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        if any(change.after.owner == ME.worker_id != change.before.owner for change in changes):
            self.during()
        return super().write(changes)


def test_a_take_that_is_under_way_is_waited_for_and_its_lease_released() -> None:
    """The row would name a worker that has gone, and its shard would be read by nobody until the lease had run out."""
    bench, scheduler = Bench(), Steps()
    table = SlowTable(bench.journal)
    for number in range(40):  # more than are taken at once: the rest is not even begun
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
