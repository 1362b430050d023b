"""Run tasks on threads when they are due. Only this module and the log's writer start threads.

A task does one piece of work per step, and returns the seconds until the next step. The tasks of a lane share its
threads. Renewals and coordinator have separate lanes, so a sink that hangs in every thread of the shard lane never
stops the renewal of leases. No task runs on two threads at once.
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

# Seconds until a task whose step raised an error is due again. The process usually ends before that.
AFTER_FAILURE = 1.0


def share_one_heap() -> None:
    """Make later threads allocate from one heap if the C library is glibc; otherwise do nothing.

    glibc gives each busy thread a separate heap. Records are fetched on one thread and delivered on another. So in turn
    each heap grows to the size of the whole budget and keeps freed memory. That costs 40 to 70 MB at a budget of
    64 MiB. Python's threads run one at a time, so one heap costs no time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


_M_ARENA_MAX = -8  # malloc.h


class Task(Protocol):
    """Something that is done in steps: reading a shard, renewing leases, shard sync, balancing."""

    def step(self, now: float) -> float | None:
        """Do one piece of work; return the seconds until the next step, or None when the task has ended."""
        ...


class Lane(Enum):
    """The threads that run a task."""

    SHARDS = "shards"
    RENEWALS = "renewals"
    COORDINATOR = "coordinator"
    HTTP = "http"
    LIFE = "life"
    CREDENTIALS = "credentials"
    DISPLAY = "display"  # a stopped terminal blocks it


class Scheduler(Protocol):
    """Run tasks. The simulation implements this in virtual time."""

    def add(self, task: Task, lane: Lane) -> None:
        """Run a task from now on."""
        ...

    def wake(self, task: Task) -> None:
        """Make a task due now, even if its last step returned a longer wait."""
        ...


# Seconds without progress after which a lane is stalled. This is longer than a step that uses a slow service may take,
# such as creating 5,000 rows at the first start, because such a step is no reason to restart the worker.
STALLED_AFTER = 120.0


class ThreadScheduler:
    """Run tasks on real threads. Call `on_failure` on any failure, so that the process ends.

    A failure is a step that raises an error, a thread that cannot be started, or an error of the lane itself. The task
    keeps running until the end, because an orderly end may need it.
    """

    def __init__(self, threads: int, on_failure: Callable[[BaseException], None], clock: Clock = boottime) -> None:
        # One thread per coordinator task: listing a slow stream must not delay the search for dead workers.
        sizes = {Lane.SHARDS: threads, Lane.RENEWALS: 1, Lane.COORDINATOR: 5}
        sizes |= {Lane.HTTP: 1, Lane.LIFE: 1, Lane.DISPLAY: 1}
        # One thread each for the credentials found and for those of two assumed roles, because any of them may hang.
        sizes[Lane.CREDENTIALS] = 3
        self._lanes = {lane: _Threads(lane.value, size, on_failure, clock) for lane, size in sizes.items()}

    def add(self, task: Task, lane: Lane) -> None:
        self._lanes[lane].add(task)

    def wake(self, task: Task) -> None:
        for lane in self._lanes.values():
            lane.wake(task)

    def stalled(self) -> list[str]:
        """Return the lanes that make no progress; may be empty. Liveness asks no remote service.

        A lane is stalled when a task is overdue although a thread is free to run it. The lanes of renewals and
        coordinator are also stalled when one step lasts too long. A step of a shard may last: if a sink hangs in every
        thread, it would also hang in a new process, which would only repeat deliveries. This process keeps its leases
        and can hand them off.
        """
        bounded = (Lane.RENEWALS, Lane.COORDINATOR)
        judged = {lane: self._lanes[lane] for lane in (*bounded, Lane.SHARDS)}
        return [
            lane.value
            for lane, threads in judged.items()
            if threads.idles_for(STALLED_AFTER) or (lane in bounded and threads.works_for(STALLED_AFTER))
        ]

    def stop(self) -> None:
        """Start no further step. Running steps are not awaited, because their threads are daemons."""
        for lane in self._lanes.values():
            lane.stop()


class _Threads:
    """One lane: a heap of due times and up to `size` threads, which are started when needed.

    One idle thread, the leader, sleeps until the earliest due time. The others sleep until they are notified. So an
    idle lane of 32 threads wakes one thread per task, not all.
    """

    def __init__(self, name: str, size: int, on_failure: Callable[[BaseException], None], clock: Clock) -> None:
        self._name, self._size, self._on_failure, self._clock = name, size, on_failure, clock
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._waking: set[int] = set()  # running tasks that are due again at once
        self._running: dict[int, float] = {}  # start of the step, by id of the task
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
        """Return whether a task has been overdue for `seconds` while a thread was free."""
        with self._changed:
            free = self._idle > 0 or self._threads < self._size
            return free and bool(self._due) and self._due[0][0] < self._clock() - seconds

    def works_for(self, seconds: float) -> bool:
        """Return whether a step has been running for `seconds`."""
        with self._changed:
            return any(since < self._clock() - seconds for since in self._running.values())

    def _push(self, task: Task, due: float) -> None:
        heapq.heappush(self._due, (due, next(self._order), task))
        if self._due[0][2] is task:  # a leader would sleep too long now
            self._notify_thread()

    def _notify_thread(self) -> None:
        if self._idle:
            self._changed.notify_all() if self._led else self._changed.notify()
        elif self._threads < self._size and not self._stopped:
            self._start_thread()

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads + 1}", daemon=True).start()
            self._threads += 1
        except (RuntimeError, MemoryError):
            self._on_failure(NoThread())

    def _run(self) -> None:
        try:
            while (task := self._next()) is not None:
                self._done(task, self._step(task))
        except BaseException as error:  # an error of the lane, not of a step: this thread ends
            self._on_failure(error)

    def _step(self, task: Task) -> float | None:
        try:
            return task.step(self._clock())
        except BaseException as error:
            self._on_failure(error)
            return AFTER_FAILURE

    def _next(self) -> Task | None:
        """Wait for a due task and return it, or None when the lane has stopped."""
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - self._clock() if self._due else None
                if wait is not None and wait <= 0:
                    task = heapq.heappop(self._due)[2]
                    self._running[id(task)] = self._clock()
                    if self._due:
                        self._notify_thread()
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
