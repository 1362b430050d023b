"""The life of the process: check what it depends on, run, stop in order, say with which exit code.

Stop order: the coordinator takes nothing more and every shard delivers, checkpoints and hands its lease on - while the
renewals go on, so that a slow sink costs no lease - and only then do threads and connections end.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from types import FrameType
from typing import Protocol

import structlog

from consumer.engine.coordinator import Coordinator
from consumer.engine.scheduler import Clock, Lane, Task, ThreadScheduler, boottime
from consumer.errors import ConfigurationError, OutputClosed, Retryable
from consumer.telemetry.metrics import Metrics

# How long a dependency that fails is tried before the first lease is taken, seconds; afterwards for ever.
PATIENCE = 10.0
BETWEEN_TRIES = 0.5
REPORT_INTERVAL = 60.0
# How long the end waits for reads that are under way, seconds; what they answer is left to the next owner.
READS_END = 2.0
# How long before the deadline the shards give up to deliver, seconds: the leases are still to be handed over.
HANDING_OVER = 2.0


class Exit(IntEnum):
    """Exit codes; a second signal ends the process at once with 128 and the signal's number (130, 143)."""

    DONE = 0
    UNEXPECTED = 1
    CONFIGURATION = 2
    NOT_DRAINED = 3


@dataclass
class Ending:
    """Why the run ends: set once, by whoever is first."""

    _happened: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    by_signal: int | None = None

    @property
    def reason(self) -> str:
        """Why, in a word or two."""
        if self.by_signal is not None:
            return signal.Signals(self.by_signal).name
        if isinstance(self.error, OutputClosed):
            return "output closed"
        return "failure" if self.error else "caught up"

    def because(self, error: BaseException | None = None, by_signal: int | None = None) -> None:
        """End the run."""
        if not self._happened.is_set():
            self.error, self.by_signal = error, by_signal
            self._happened.set()

    def wait(self, seconds: float) -> bool:
        """Wait for it; True once the run has to end."""
        return self._happened.wait(seconds)


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

    `probes`, if there are any, answer from before the checks until after the drain.
    """

    coordinator: Callable[[ThreadScheduler], Coordinator]
    checks: Sequence[Callable[[], object]]
    closes: Sequence[Callable[[], None]]
    metrics: Metrics
    probes: Callable[[Health], Probes] | None = None
    threads: int = 32
    shutdown_timeout: float = 25.0
    fail_on_dead_letters: bool = False
    clock: Clock = boottime

    def run(self) -> Exit:
        """Run until told to stop, or until all is read.

        Raises:
            ConfigurationError: the configuration cannot work, or a dependency does not answer at the start.
        """
        ending = Ending()
        with _signals(ending):
            scheduler = ThreadScheduler(self.threads, ending.because, self.clock)
            health = Health(scheduler)
            probes = self.probes(health) if self.probes is not None else None
            if probes is not None:
                scheduler.add(probes, Lane.HTTP)
            for check in self.checks:
                if not _try_for(PATIENCE, check, self.clock, ending):
                    return Exit.DONE  # told to stop before anything was begun
            health.coordinator = coordinator = self.coordinator(scheduler)
            coordinator.start()
            scheduler.add(Report(self.metrics, coordinator), Lane.COORDINATOR)
            while not ending.wait(0.1) and not coordinator.caught_up:
                pass
            drained = self._drain(coordinator, ending)
            scheduler.stop()
            if probes is not None:
                probes.close()
            for close in self.closes if drained else ():
                close()
        return self._exit_code(ending, drained and not coordinator.undelivered)

    def _drain(self, coordinator: Coordinator, ending: Ending) -> bool:
        log = structlog.get_logger()
        log.info("worker.draining", reason=ending.reason, leases=coordinator.leases)
        began = self.clock()
        reads_on = 0.0
        if ending.error is None:
            until = began + self.shutdown_timeout - min(HANDING_OVER, self.shutdown_timeout / 5)
            reads_on = coordinator.drain(self.shutdown_timeout / 3, until)
        else:
            coordinator.abandon()
        while not coordinator.drained:
            if self.clock() >= began + self.shutdown_timeout:
                log.error("worker.not_drained", leases=coordinator.leases)
                return False
            if self.clock() >= began + reads_on + READS_END:
                coordinator.let_go()
            time.sleep(0.01)
        coordinator.farewell()
        return True

    def _exit_code(self, ending: Ending, drained: bool) -> Exit:
        if isinstance(ending.error, ConfigurationError):
            raise ending.error
        if ending.error is not None and not isinstance(ending.error, OutputClosed):
            structlog.get_logger().error("worker.failed", error=type(ending.error).__name__)
            return Exit.UNEXPECTED
        if not drained and ending.error is None:
            return Exit.NOT_DRAINED
        if self.fail_on_dead_letters and self.metrics.dead_letters:
            return Exit.UNEXPECTED
        return Exit.DONE


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


def _try_for(seconds: float, check: Callable[[], object], clock: Clock, ending: Ending) -> bool:
    """Call `check` until it works; False when the run has to end before that.

    Raises:
        ConfigurationError: it has not worked for `seconds`.
    """
    give_up = clock() + seconds
    while True:
        began = clock()
        try:
            check()
            return not ending.wait(0.0)
        except Retryable as error:
            now = clock()
            if now + max(BETWEEN_TRIES, now - began) >= give_up:
                raise ConfigurationError(f"{error} (tried for {seconds:.0f} s)") from error
        if ending.wait(BETWEEN_TRIES):
            return False


@contextmanager
def _signals(ending: Ending) -> Iterator[None]:
    """SIGTERM and SIGINT ask for an orderly end; the second one forces it at once. Puts back what was there."""

    def asked(number: int, _frame: FrameType | None) -> None:
        if ending.by_signal is not None:
            os._exit(128 + number)
        ending.because(by_signal=number)
        ending.by_signal = number

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
