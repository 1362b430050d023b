"""The life of the process: check what it depends on, run, stop in order, say with which exit code.

Stop order: the coordinator takes nothing more and every shard delivers, checkpoints and hands its lease on - while the
renewals go on, so that a slow sink costs no lease - and only then do threads and connections end. All of this happens
on a thread of its own. The main thread only hears signals and watches the deadline, so there is nothing it can hang in.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from consumer.errors import ConfigurationError
from consumer.fleet.coordinator import Coordinator
from consumer.process import Exit, Signals
from consumer.runtime.clock import Clock, boottime
from consumer.runtime.scheduler import Lane, Task, ThreadScheduler
from consumer.startup_checks import Checks
from consumer.stop_request import StopRequest
from consumer.telemetry.metrics import Metrics

REPORT_INTERVAL = 60.0
# How long the end waits for reads that are under way, seconds; what they answer is left to the next owner.
READS_END = 2.0
# How long before the deadline the shards give up to deliver, seconds: the leases are still to be handed over.
HANDING_OVER = 2.0
# How often the last look at the lease table is tried; the leases that it would release run out by themselves.
DECLINE_ATTEMPTS, DECLINE_PAUSE = 3, 0.5
# How long the end waits for a check that is under way, seconds: nothing has begun that would have to be put in order.
CHECK_ENDS = 2.0
# How often the main thread looks up without a reason, seconds.
WATCH_INTERVAL = 1.0


@dataclass
class Health:
    """Live and ready (rule 10): judged from inside, no remote service is asked. Each is why not, or nothing."""

    _scheduler: ThreadScheduler
    coordinator: Coordinator | None = None

    def not_live(self) -> str:
        """The lanes that make no progress: nothing but a new process will help."""
        return " ".join(self._scheduler.stalled())

    def not_ready(self) -> str:
        """It takes part from the first balance step until it drains; a spare without a lease does too."""
        if self.coordinator is None or not self.coordinator.takes_part:
            return "starting"
        return "draining" if self.coordinator.draining else ""


class Probes(Task, Protocol):
    """Whoever tells others of this worker's health."""

    def close(self) -> None:
        """Stop; does not wait."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process. `checks` are tried before anything starts, `closes` called when everything has stopped.

    A check goes by the name of what it asks. `probes`, if there are any, answer from before the checks until after the
    drain. `credentials` are the tasks that get and renew them, from before the checks too.
    """

    coordinator: Callable[[ThreadScheduler], Coordinator]
    checks: Mapping[str, Callable[[], object]]
    closes: Sequence[Callable[[], None]]
    metrics: Metrics
    probes: Callable[[Health], Probes] | None = None
    credentials: Sequence[Task] = ()
    threads: int = 32
    shutdown_timeout: float = 25.0
    until_caught_up: bool = False
    fail_on_dead_letters: bool = False
    clock: Clock = boottime

    def run(self, signals: Signals) -> Exit:
        """Run until told to stop, or until all is read; ends `shutdown_timeout` after that at the latest.

        Raises:
            ConfigurationError: the configuration cannot work, or a dependency does not answer at the start.
        """
        ending = StopRequest(signals.wake, self.clock)
        scheduler = ThreadScheduler(self.threads, ending.because, self.clock)
        life = Life(self, scheduler, ending)
        scheduler.add(life, Lane.LIFE)
        while not life.over and (left := self._left(ending, life)) > 0:
            signals.wait(min(left, WATCH_INTERVAL))
            life.checks.tell()
            if signals.first is not None:
                ending.because(by_signal=signals.first)
        scheduler.stop()
        return self._exit_code(ending, life)

    def _left(self, ending: StopRequest, life: "Life") -> float:
        """Seconds until the process ends, whatever still hangs."""
        if ending.at is None:
            return float("inf")
        if not life.begun:  # there was no thread for it
            return 0.0
        return ending.at + (self.shutdown_timeout if life.working else CHECK_ENDS) - self.clock()

    def _exit_code(self, ending: StopRequest, life: "Life") -> Exit:
        if isinstance(ending.error, ConfigurationError):
            raise ending.error
        if ending.failed:
            return Exit.UNEXPECTED
        if not life.drained:
            structlog.get_logger().error("worker.not_drained", leases=life.leases)
            return Exit.NOT_DRAINED
        if (life.undelivered and ending.error is None) or (self.until_caught_up and ending.by_signal is not None):
            return Exit.NOT_DRAINED
        if self.fail_on_dead_letters and self.metrics.dead_letters:
            return Exit.UNEXPECTED
        return Exit.DONE


class Life:
    """A task of one step, which is all that the process does. It may take for ever: the main thread does not wait."""

    def __init__(self, worker: Worker, scheduler: ThreadScheduler, ending: StopRequest) -> None:
        self._worker, self._scheduler, self._ending = worker, scheduler, ending
        self._coordinator: Coordinator | None = None
        self.checks = Checks(worker.checks, worker.clock, ending)
        self.begun, self.drained, self.over = False, True, False

    @property
    def working(self) -> bool:
        """Are the checks over?"""
        return self._coordinator is not None

    @property
    def leases(self) -> int:
        """How many shards have not been handed over."""
        return self._coordinator.leases if self._coordinator is not None else 0

    @property
    def undelivered(self) -> bool:
        """Was anything left that had been fetched?"""
        return self._coordinator is not None and bool(self._coordinator.undelivered)

    def step(self, now: float) -> None:
        self.begun = True
        try:
            self._live()
        except BaseException as error:
            self._ending.because(error)
        finally:
            self.over = True
            self._ending.wake()

    def _live(self) -> None:
        worker, scheduler = self._worker, self._scheduler
        health = Health(scheduler)
        probes = worker.probes(health) if worker.probes is not None else None
        if probes is not None:
            scheduler.add(probes, Lane.HTTP)
        for task in worker.credentials:
            scheduler.add(task, Lane.CREDENTIALS)
        if not self.checks.passed():
            return  # told to stop before anything was begun
        self.drained = False
        self._coordinator = health.coordinator = coordinator = worker.coordinator(scheduler)
        coordinator.start()
        scheduler.add(Report(worker.metrics, coordinator), Lane.COORDINATOR)
        while not self._ending.wait(0.1) and not coordinator.caught_up:
            pass
        self._ending.because()
        self._drain(coordinator)
        if probes is not None:
            probes.close()
        for close in worker.closes:
            close()

    def _drain(self, coordinator: Coordinator) -> None:
        ending, clock, timeout = self._ending, self._worker.clock, self._worker.shutdown_timeout
        structlog.get_logger().info("worker.draining", reason=ending.reason, leases=coordinator.leases)
        began = ending.at if ending.at is not None else clock()
        reads_on = 0.0
        if ending.error is None:
            reads_on = coordinator.drain(timeout / 3, began + timeout - min(HANDING_OVER, timeout / 5))
        else:
            coordinator.discard(ending.failure)
        while not coordinator.finished:
            if ending.error is not None:
                coordinator.discard(ending.failure)  # also what a take that was under way has brought
            if clock() >= began + reads_on + READS_END:
                coordinator.cancel_reads()
            time.sleep(0.01)
        self.drained = True
        for _ in range(DECLINE_ATTEMPTS):
            if coordinator.decline_offers():
                break
            time.sleep(DECLINE_PAUSE)


class Report:
    """One log line a minute: what was read and written, how far behind, how many leases."""

    def __init__(self, metrics: Metrics, coordinator: Coordinator) -> None:
        self._metrics, self._coordinator = metrics, coordinator
        self._log = structlog.get_logger()
        self._begun = False

    def step(self, now: float) -> float:
        if self._begun:
            self._log.info("worker.progress", leases=self._coordinator.leases, **self._metrics.summary())
        self._begun = True
        return REPORT_INTERVAL
