"""Run tasks on threads: due order, lanes, wake-ups."""

import threading
from collections.abc import Callable, Iterator

import pytest

from consumer.runtime.scheduler import Lane, ThreadScheduler

PATIENCE = 10.0  # seconds until a test gives up waiting for a thread


class Steps:
    """A task that calls `act` and returns when it is due again."""

    def __init__(self, act: Callable[[], float | None]) -> None:
        self._act = act
        self.stepped = threading.Semaphore(0)
        self.steps = 0

    def step(self, now: float) -> float | None:
        self.steps += 1
        try:
            return self._act()
        finally:
            self.stepped.release()

    def wait(self) -> None:
        """Wait for one more step."""
        assert self.stepped.acquire(timeout=PATIENCE)


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
def scheduler(failures: list[BaseException]) -> Iterator[ThreadScheduler]:
    made = ThreadScheduler(2, failures.append)
    yield made
    made.stop()


def test_tasks_run_in_the_order_of_their_due_times() -> None:
    """The order in which they were added does not matter."""
    order: list[str] = []
    gate = threading.Event()
    failures: list[BaseException] = []
    scheduler = ThreadScheduler(1, failures.append)
    delays = {"late": [0.06, None], "early": [0.02, None], "middle": [0.04, None]}

    def act(name: str) -> Callable[[], float | None]:
        def run() -> float | None:
            gate.wait(PATIENCE)
            order.append(name)
            return delays[name].pop(0)

        return run

    tasks = [Steps(act(name)) for name in delays]
    for task in tasks:
        scheduler.add(task, Lane.SHARDS)
    gate.set()
    for task in tasks:
        task.wait()
        task.wait()
    scheduler.stop()
    assert order[3:] == ["early", "middle", "late"]


def test_hanging_shard_threads_do_not_delay_renewals(scheduler: ThreadScheduler) -> None:
    """Every thread of the shards hangs in a sink."""
    hang = threading.Event()

    def act() -> None:
        hang.wait(PATIENCE)

    hanging = [Steps(act) for _ in range(4)]
    for task in hanging:
        scheduler.add(task, Lane.SHARDS)
    renewals, balance = Steps(lambda: 0.001), Steps(lambda: 0.001)
    scheduler.add(renewals, Lane.RENEWALS)
    scheduler.add(balance, Lane.COORDINATOR)
    for _ in range(3):
        renewals.wait()
        balance.wait()
    assert sum(task.steps for task in hanging) == 2
    hang.set()
    for task in hanging:
        task.wait()


def test_wake_makes_a_sleeping_task_due_now(scheduler: ThreadScheduler) -> None:
    """A drain does not wait for a backoff of half a minute."""
    task = Steps(lambda: 3600.0)
    scheduler.add(task, Lane.SHARDS)
    task.wait()
    scheduler.wake(task)
    task.wait()


def test_wake_during_a_step_runs_the_task_again_after_it(scheduler: ThreadScheduler) -> None:
    """The wake-up is not lost, and two steps of a task never run at once."""
    begun, go_on = threading.Event(), threading.Event()

    def act() -> float:
        begun.set()
        go_on.wait(PATIENCE)
        return 3600.0

    task = Steps(act)
    scheduler.add(task, Lane.SHARDS)
    assert begun.wait(PATIENCE)
    scheduler.wake(task)
    assert task.steps == 1
    go_on.set()
    task.wait()
    task.wait()


def test_a_finished_task_is_not_run_again(scheduler: ThreadScheduler) -> None:
    """A step returns None when it is finished. Waking the task then does nothing."""
    task, other = Steps(lambda: None), Steps(lambda: None)
    scheduler.add(task, Lane.SHARDS)
    task.wait()
    scheduler.wake(task)
    scheduler.add(other, Lane.SHARDS)
    other.wait()
    assert task.steps == 1


def test_a_step_that_raises_is_reported_and_its_task_can_still_be_woken(
    scheduler: ThreadScheduler, failures: list[BaseException]
) -> None:
    """The program ends, but the drain may still ask the task to release its lease."""
    acts: list[Callable[[], float | None]] = [lambda: 1 / 0, lambda: None]

    def act() -> float | None:
        return acts.pop(0)()

    task = Steps(act)
    scheduler.add(task, Lane.SHARDS)
    task.wait()
    scheduler.wake(task)
    task.wait()
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_no_step_starts_after_stop(scheduler: ThreadScheduler) -> None:
    """Steps under way are not waited for."""
    task = Steps(lambda: 0.0)
    scheduler.add(task, Lane.SHARDS)
    task.wait()
    scheduler.stop()
    scheduler.add(late := Steps(lambda: 0.0), Lane.SHARDS)
    assert not late.stepped.acquire(timeout=0.05)
