"""Virtual time for a whole fleet: a heap of due steps that run on one thread, from one seed.

A port that takes time calls `spend`. Meanwhile the steps of other workers run, nested on the same stack. So a worker
can be frozen, killed or overtaken during any call of a port.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from consumer.errors import where
from consumer.runtime.scheduler import Lane, Task

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MOST_NESTED = 12  # nested calls; deeper ones take no time


class Killed(BaseException):
    """The process of the running step has been killed."""


class Silent:
    """A logger that prints only when a seed is replayed. It reports a halted shard as a violation."""

    def __init__(self, world: "World | None" = None, verbose: bool = False, **bound: object) -> None:
        self._world, self._verbose, self._bound = world, verbose, bound

    def bind(self, **more: object) -> "Silent":
        return Silent(self._world, self._verbose, **{**self._bound, **more})

    def info(self, event: str, **fields: object) -> None:
        if self._world is None:
            return
        if event == "shard.halted":
            self._world.violated(halted(str(fields["error"]), str(fields["where"])))
        if self._verbose:
            print(f"{self._world.now:8.2f} {event} {self._bound | fields}")

    warning = error = debug = info


def halted(error: str, place: str) -> str:
    """Return the violation for a halted shard. A checkpoint that would go back is named, because plants cause it."""
    if error == "ValueError" and place.startswith("lease.py:"):
        return "a checkpoint would have gone back"
    return f"unforeseen: {error} at {place} halts a shard"


@dataclass
class Process:
    """A simulated process. `start` differs for each process with the same name."""

    name: str
    start: str = ""
    alive: bool = True
    frozen_until: float = 0.0


@dataclass
class World:
    """The clock, the random numbers and the due steps of one run."""

    seed: int
    now: float = 1000.0
    violations: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)  # the faults that happened, which may excuse a repeat

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._due: list[tuple[float, int, Process | None, Any]] = []
        self._order = itertools.count()
        self._depth = 0

    def at(self, due: float, act: Any, process: Process | None = None) -> None:
        """Call `act` at `due`. With a process, call it only while that process is alive."""
        heapq.heappush(self._due, (due, next(self._order), process, act))

    def run_until(self, until: float) -> None:
        """Run everything that is due until then."""
        while self._due and self._due[0][0] <= until:
            due, _, process, act = heapq.heappop(self._due)
            self.now = max(self.now, due)
            if process is not None and not process.alive:
                continue
            if process is not None and process.frozen_until > self.now:
                self.at(process.frozen_until, act, process)
                continue
            try:
                act()
            except Killed:
                continue
        self.now = max(self.now, until)

    def spend(self, process: Process, seconds: float) -> None:
        """Let a call of `process` take these seconds, and longer while the process is frozen."""
        if self._depth < MOST_NESTED:
            self._depth += 1
            try:
                self.run_until(max(self.now + seconds, process.frozen_until))
                while process.alive and process.frozen_until > self.now:
                    self.run_until(process.frozen_until)
            finally:
                self._depth -= 1
        if not process.alive:
            raise Killed

    def violated(self, what: str) -> None:
        """Note a broken guarantee."""
        self.violations.append(f"t={self.now:.2f} {what}")

    def wall(self) -> datetime:
        """Return the service's time."""
        return EPOCH + timedelta(seconds=self.now)


class VirtualScheduler:
    """Runs the tasks of one process in virtual time. A step that raises an error calls `on_failure`."""

    def __init__(self, world: World, process: Process, on_failure: Callable[[Exception], None] | None = None) -> None:
        self._world, self._process = world, process
        self._on_failure = on_failure or self._unforeseen
        self._turn: dict[int, int] = {}
        self._running: set[int] = set()

    def add(self, task: Task, lane: Lane) -> None:
        self._schedule(task, 0.0)

    def wake(self, task: Task) -> None:
        if id(task) not in self._running and id(task) in self._turn:
            self._schedule(task, 0.0)

    def _schedule(self, task: Task, delay: float) -> None:
        turn = self._turn[id(task)] = self._turn.get(id(task), 0) + 1

        def act() -> None:
            if self._turn.get(id(task)) == turn:
                self._step(task)

        self._world.at(self._world.now + max(delay, 0.001), act, self._process)

    def _step(self, task: Task) -> None:
        self._running.add(id(task))
        try:
            delay = task.step(self._world.now)
        except Exception as error:
            self._on_failure(error)
            return
        finally:
            self._running.discard(id(task))
        if delay is not None:
            self._schedule(task, delay)
        else:
            self._turn.pop(id(task), None)

    def _unforeseen(self, error: Exception) -> None:
        self._world.violated(f"unforeseen: {type(error).__name__} at {where(error)}")
        self._process.alive = False
