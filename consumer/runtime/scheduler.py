"""Runs tasks when they are due, on threads: the only place that starts any, but for the one that writes the log.

A task does one piece of work a step and says in how many seconds it wants the next. Tasks of one lane share its
threads; renewals and the coordinator have lanes of their own, so that a sink which hangs in every thread of the shard
lane can never keep leases from being renewed. A task is never run by two threads at once.
"""

import contextlib
import ctypes
import heapq
import itertools
import threading
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from consumer.errors import NoThread
from consumer.runtime.clock import Clock, boottime

# When a task whose step raised is due again, seconds; the program ends meanwhile.
AFTER_FAILURE = 1.0


def share_one_heap() -> None:
    """Make all threads started from now on allocate from one heap, where the C library is glibc; else do nothing.

    glibc gives each busy thread a heap of its own. Records are fetched on one thread and delivered on another, so each
    heap in turn grows to the size of the whole budget and keeps what is freed: 40 to 70 MB more at 64 MiB. Python's
    threads take turns anyhow, so one heap costs no time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


_M_ARENA_MAX = -8  # malloc.h


class Task(Protocol):
    """The engine's one abstraction: a shard being read, the renewals, discovery, balance."""

    def step(self, now: float) -> float | None:
        """Do one piece of work; return the seconds until the next, or None when it is over."""
        ...


class Lane(Enum):
    """Which threads run a task."""

    SHARDS = "shards"
    RENEWALS = "renewals"
    COORDINATOR = "coordinator"
    HTTP = "http"
    LIFE = "life"
    CREDENTIALS = "credentials"


class Scheduler(Protocol):
    """What the engine asks of whoever runs its tasks; the simulation has one in virtual time."""

    def add(self, task: Task, lane: Lane) -> None:
        """Run a task from now on."""
        ...

    def wake(self, task: Task) -> None:
        """Make a task due now, whatever it said last."""
        ...


# A lane without progress for so long, seconds, is stalled. Longer than a step that asks a slow service may take
# (5,000 rows made at the first start), which is no reason to start the worker anew. Leases do not wait for this.
STALLED_AFTER = 120.0


class ThreadScheduler:
    """Tasks on real threads. Whatever fails here ends the program: `on_failure` is told, nothing goes on half alive.

    That is a step that raises, a thread that cannot be started, and a defect of the lane itself. Until the end the task
    stays: an orderly end may still ask something of it.
    """

    def __init__(self, threads: int, on_failure: Callable[[BaseException], None], clock: Clock = boottime) -> None:
        # Listing a slow stream must not hold up the search for dead workers, hence a thread for each coordinator task.
        sizes = {Lane.SHARDS: threads, Lane.RENEWALS: 1, Lane.COORDINATOR: 5, Lane.HTTP: 1, Lane.LIFE: 1}
        # Credentials are those found, and those of two roles that are assumed: none waits for another that hangs.
        sizes[Lane.CREDENTIALS] = 3
        self._lanes = {lane: _Threads(lane.value, size, on_failure, clock) for lane, size in sizes.items()}

    def add(self, task: Task, lane: Lane) -> None:
        self._lanes[lane].add(task)

    def wake(self, task: Task) -> None:
        for lane in self._lanes.values():
            lane.wake(task)

    def stalled(self) -> list[str]:
        """Return the lanes that make no progress; may be empty. Liveness asks no remote service.

        A lane is stalled when a task is overdue although a thread is free to run it. Renewer and coordinator are so
        too while one step lasts too long. A shard's step may last: a sink that hangs in every thread would hang in the
        next process as well, which would only repeat what was under way, while here leases are renewed and handed over.
        """
        duties = (Lane.RENEWALS, Lane.COORDINATOR)
        judged = {lane: self._lanes[lane] for lane in (*duties, Lane.SHARDS)}
        return [
            lane.value
            for lane, threads in judged.items()
            if threads.idles_for(STALLED_AFTER) or (lane in duties and threads.works_for(STALLED_AFTER))
        ]

    def stop(self) -> None:
        """Start no further step; steps under way are not waited for (their threads are daemons)."""
        for lane in self._lanes.values():
            lane.stop()


class _Threads:
    """One lane: a heap of due times and up to `size` threads, started as they are needed.

    One idle thread, the leader, sleeps until the earliest due time; the others sleep until they are called. So an idle
    lane of 32 threads wakes one of them a task, not all.
    """

    def __init__(self, name: str, size: int, on_failure: Callable[[BaseException], None], clock: Clock) -> None:
        self._name, self._size, self._on_failure, self._clock = name, size, on_failure, clock
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._waking: set[int] = set()  # running tasks to be run again at once
        self._running: dict[int, float] = {}  # since when
        self._threads = 0
        self._idle = 0
        self._led = False
        self._stopped = False

    def add(self, task: Task) -> None:
        with self._changed:
            self._push(task, self._clock())

    def wake(self, task: Task) -> None:
        with self._changed:
            if id(task) in self._running:
                self._waking.add(id(task))
                return
            waiting = [entry for entry in self._due if entry[2] is task]
            if waiting:
                self._due.remove(waiting[0])
                heapq.heapify(self._due)
                self._push(task, self._clock())

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def idles_for(self, seconds: float) -> bool:
        """Has a task been due for so long while a thread was free?"""
        with self._changed:
            free = self._idle > 0 or self._threads < self._size
            return free and bool(self._due) and self._due[0][0] < self._clock() - seconds

    def works_for(self, seconds: float) -> bool:
        """Is a step under way since so long ago?"""
        with self._changed:
            return any(since < self._clock() - seconds for since in self._running.values())

    def _push(self, task: Task, due: float) -> None:
        heapq.heappush(self._due, (due, next(self._order), task))
        if self._due[0][2] is task:  # the leader, if there is one, sleeps too long now
            self._call_a_thread()

    def _call_a_thread(self) -> None:
        if self._idle:
            self._changed.notify_all() if self._led else self._changed.notify()
        elif self._threads < self._size and not self._stopped:
            self._start_a_thread()

    def _start_a_thread(self) -> None:
        try:
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads + 1}", daemon=True).start()
            self._threads += 1
        except (RuntimeError, MemoryError):
            self._on_failure(NoThread())

    def _run(self) -> None:
        try:
            while (task := self._next()) is not None:
                self._done(task, self._step(task))
        except BaseException as error:  # of the lane's own: this thread is lost
            self._on_failure(error)

    def _step(self, task: Task) -> float | None:
        try:
            return task.step(self._clock())
        except BaseException as error:
            self._on_failure(error)
            return AFTER_FAILURE

    def _next(self) -> Task | None:
        """Wait for a task that is due; None when the lane has stopped."""
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - self._clock() if self._due else None
                if wait is not None and wait <= 0:
                    task = heapq.heappop(self._due)[2]
                    self._running[id(task)] = self._clock()
                    if self._due:
                        self._call_a_thread()
                    return task
                self._sleep(wait)
            return None

    def _sleep(self, wait: float | None) -> None:
        self._idle += 1
        lead = wait is not None and not self._led
        self._led = self._led or lead
        self._changed.wait(wait if lead else None)
        self._idle -= 1
        if lead:
            self._led = False

    def _done(self, task: Task, delay: float | None) -> None:
        with self._changed:
            del self._running[id(task)]
            woken = id(task) in self._waking
            self._waking.discard(id(task))
            if delay is not None and not self._stopped:
                self._push(task, self._clock() + (0.0 if woken else delay))
