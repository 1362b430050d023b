"""Decide whether the scheduler is live."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consumer.runtime.scheduler import STALLED_AFTER, Lane, ThreadScheduler
from tests.unit.clocks import FakeClock


class Hanging:
    """A task whose step does not end until the test releases it."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def step(self, now: float) -> None:
        self.begun.set()
        self.go.wait(30)


class Idle:
    """A task that wants its next step after a given time."""

    def __init__(self, delay: float) -> None:
        self.delay, self.done = delay, threading.Event()

    def step(self, now: float) -> float:
        self.done.set()
        return self.delay


@contextmanager
def scheduling(clock: FakeClock, threads: int) -> Iterator[ThreadScheduler]:
    scheduler = ThreadScheduler(threads, print, clock)
    yield scheduler
    scheduler.stop()


def hang(scheduler: ThreadScheduler, lane: Lane) -> Hanging:
    task = Hanging()
    scheduler.add(task, lane)
    assert task.begun.wait(10)
    return task


def test_sinks_that_hang_in_every_thread_leave_the_worker_live() -> None:
    """A new process would hang in them, too, and renewals continue."""
    clock = FakeClock()
    with scheduling(clock, 2) as scheduler:
        tasks = [hang(scheduler, Lane.SHARDS) for _ in range(2)]
        scheduler.add(Idle(1.0), Lane.SHARDS)  # waits for a thread
        clock.advance(10 * STALLED_AFTER)
        assert scheduler.stalled() == []
        for task in tasks:
            task.go.set()


@pytest.mark.parametrize("lane", [Lane.RENEWALS, Lane.COORDINATOR])
def test_a_hanging_renewal_or_coordinator_task_ends_liveness(lane: Lane) -> None:
    """The worker cannot keep its leases or take part, so only a new process helps."""
    clock = FakeClock()
    with scheduling(clock, 2) as scheduler:
        task = hang(scheduler, lane)
        clock.advance(STALLED_AFTER - 1)
        assert scheduler.stalled() == []
        clock.advance(2)
        assert scheduler.stalled() == [lane.value]
        task.go.set()


@pytest.mark.parametrize("lane", [Lane.RENEWALS, Lane.COORDINATOR, Lane.SHARDS])
def test_an_overdue_task_beside_an_idle_thread_ends_liveness(lane: Lane) -> None:
    """A wake-up was lost. A task that is not due is no sign of that."""
    clock = FakeClock()
    with scheduling(clock, 1) as scheduler:
        task = Idle(3600.0)
        scheduler.add(task, lane)
        assert task.done.wait(10)
        give_up = time.monotonic() + 10
        threads = scheduler._lanes[lane]
        while threads._idle < threads._threads and time.monotonic() < give_up:
            time.sleep(0.001)  # wait until all threads sleep: a late one would run the overdue task
        clock.advance(3600)
        assert scheduler.stalled() == []
        clock.advance(STALLED_AFTER + 1)
        assert scheduler.stalled() == [lane.value]
