"""Run the worker process: check its dependencies, read, stop in order, and return an exit code.

Stop order: the coordinator takes no more leases. Each shard delivers, checkpoints and hands off its lease. Renewals
continue meanwhile, so that a slow sink costs no lease. Threads and connections end last.

All of this runs on a second thread. The main thread only waits for signals and the deadline, so it cannot hang.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.errors import ConfigurationError
from consumer.fleet.coordinator import Coordinator
from consumer.process import Exit, Signals
from consumer.runtime.clock import Clock, boottime
from consumer.runtime.scheduler import Lane, Task, ThreadScheduler
from consumer.startup_checks import Checks
from consumer.stop_request import StopRequest
from consumer.structured_log import structlog
from consumer.telemetry.metrics import Metrics

REPORT_INTERVAL = 60.0  # seconds
# Seconds for which the shutdown waits for reads. The next owner reads the records of a late response again.
READS_END = 2.0
# Seconds before the deadline at which shards stop retrying deliveries, so that their leases can still be released.
RELEASE_TIME = 2.0
# Attempts to decline offered leases, and the seconds between them. A lease that is not declined expires.
DECLINE_ATTEMPTS, DECLINE_PAUSE = 3, 0.5
# Seconds for which the shutdown waits for a running check. Nothing has started yet that would need an orderly end.
CHECK_ENDS = 2.0
# Seconds between two checks of the main thread for a signal or the deadline.
WATCH_INTERVAL = 1.0


@dataclass
class Health:
    """Report liveness and readiness from internal state, see docs/guarantees.md#probes.

    Each method returns the problem, or "" when healthy.
    """

    _scheduler: ThreadScheduler
    coordinator: Coordinator | None = None

    def not_live(self) -> str:
        """Return the lanes that make no progress, separated by blanks. Only a restart helps then."""
        return " ".join(self._scheduler.stalled())

    def not_ready(self) -> str:
        """Return why the worker is not ready. It is ready from its first balance step until it drains."""
        if self.coordinator is None or not self.coordinator.takes_part:
            return "starting"
        return "draining" if self.coordinator.draining else ""


class Closeable(Task, Protocol):
    """A task that can be stopped."""

    def close(self) -> None:
        """Stop without waiting."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process.

    `checks`: run before anything else, by the name of what they check. `closes`: called after everything has stopped.
    `probes`: serve health from before the checks until after the drain. `credentials`: load and renew credentials.
    """

    coordinator: Callable[[ThreadScheduler], Coordinator]
    checks: Mapping[str, Callable[[], object]]
    closes: Sequence[Callable[[], None]]
    metrics: Metrics
    probes: Callable[[Health], Closeable] | None = None
    credentials: Sequence[Closeable] = ()
    threads: int = 32
    shutdown_timeout: float = 25.0
    until_caught_up: bool = False
    fail_on_dead_letters: bool = False
    clock: Clock = boottime

    def run(self, signals: Signals) -> Exit:
        """Run until a signal or until everything is read. End at most `shutdown_timeout` seconds after that.

        Raises:
            ConfigurationError: the configuration cannot work, or a dependency does not respond at the start.
        """
        stop = StopRequest(signals.wake, self.clock)
        scheduler = ThreadScheduler(self.threads, stop.because, self.clock)
        lifetime = Lifetime(self, scheduler, stop)
        scheduler.add(lifetime, Lane.LIFE)
        while not lifetime.over and (left := self._left(stop, lifetime)) > 0:
            signals.wait(min(left, WATCH_INTERVAL))
            lifetime.checks.log_wait()
            if signals.first is not None:
                stop.because(by_signal=signals.first)
        scheduler.stop()
        for task in self.credentials:
            task.close()
        return self._exit_code(stop, lifetime)

    def _left(self, stop: StopRequest, lifetime: "Lifetime") -> float:
        """Return the seconds until the process ends, even if a call hangs."""
        if stop.at is None:
            return float("inf")
        if not lifetime.begun:  # its thread could not be started
            return 0.0
        return stop.at + (self.shutdown_timeout if lifetime.working else CHECK_ENDS) - self.clock()

    def _exit_code(self, stop: StopRequest, lifetime: "Lifetime") -> Exit:
        if isinstance(stop.error, ConfigurationError):
            raise stop.error
        if stop.failed:
            return Exit.UNEXPECTED
        if not lifetime.drained:
            structlog.get_logger().error("worker.not_drained", leases=lifetime.leases, waits_for=lifetime.obstacles)
            return Exit.NOT_DRAINED
        if (lifetime.undelivered and stop.error is None) or (self.until_caught_up and stop.by_signal is not None):
            return Exit.NOT_DRAINED
        if self.fail_on_dead_letters and self.metrics.dead_letters:
            return Exit.UNEXPECTED
        return Exit.DONE


class Lifetime:
    """A task of one step that does the whole work of the process. The main thread does not wait for it if it hangs."""

    def __init__(self, worker: Worker, scheduler: ThreadScheduler, stop: StopRequest) -> None:
        self._worker, self._scheduler, self._stop = worker, scheduler, stop
        self._coordinator: Coordinator | None = None
        self.checks = Checks(worker.checks, worker.clock, stop)
        self.begun, self.drained, self.over = False, True, False

    @property
    def working(self) -> bool:
        """Return whether the checks have passed."""
        return self._coordinator is not None

    @property
    def leases(self) -> int:
        """Return the number of leases that are still held."""
        return self._coordinator.leases if self._coordinator is not None else 0

    @property
    def obstacles(self) -> list[str]:
        """Return why some leases are still held."""
        return self._coordinator.obstacles if self._coordinator is not None else []

    @property
    def undelivered(self) -> bool:
        """Return whether fetched records were dropped although their lease was held."""
        return self._coordinator is not None and bool(self._coordinator.undelivered)

    def step(self, now: float) -> None:
        self.begun = True
        try:
            self._run()
        except BaseException as error:
            self._stop.because(error)
        finally:
            self.over = True
            self._stop.wake()

    def _run(self) -> None:
        worker, scheduler = self._worker, self._scheduler
        health = Health(scheduler)
        probes = worker.probes(health) if worker.probes is not None else None
        if probes is not None:
            scheduler.add(probes, Lane.HTTP)
        for task in worker.credentials:
            scheduler.add(task, Lane.CREDENTIALS)
        if not self.checks.passed():
            return
        self.drained = False
        self._coordinator = health.coordinator = coordinator = worker.coordinator(scheduler)
        coordinator.start()
        scheduler.add(Report(worker.metrics, coordinator), Lane.COORDINATOR)
        while not self._stop.wait(0.1) and not coordinator.caught_up:
            pass
        self._stop.because()
        self._drain(coordinator)
        if probes is not None:
            probes.close()
        for close in worker.closes:
            close()

    def _drain(self, coordinator: Coordinator) -> None:
        stop, clock, timeout = self._stop, self._worker.clock, self._worker.shutdown_timeout
        structlog.get_logger().info("worker.draining", reason=stop.reason, leases=coordinator.leases)
        began = stop.at if stop.at is not None else clock()
        reads_on = 0.0
        if stop.error is None:
            reads_on = coordinator.drain(timeout / 3, began + timeout - min(RELEASE_TIME, timeout / 5))
        else:
            coordinator.discard(stop.failure)
        while not coordinator.finished:
            if stop.error is not None:
                coordinator.discard(stop.failure)  # includes leases of a take that has just completed
            if clock() >= began + reads_on + READS_END:
                coordinator.cancel_reads()
            time.sleep(0.01)
        self.drained = True
        for _ in range(DECLINE_ATTEMPTS):
            if coordinator.decline_offers():
                break
            time.sleep(DECLINE_PAUSE)


class Report:
    """A task that logs counts, lag and leases once a minute."""

    def __init__(self, metrics: Metrics, coordinator: Coordinator) -> None:
        self._metrics, self._coordinator = metrics, coordinator
        self._log = structlog.get_logger()
        self._begun = False

    def step(self, now: float) -> float:
        if self._begun:
            self._log.info("worker.progress", leases=self._coordinator.leases, **self._metrics.summary())
        self._begun = True
        return REPORT_INTERVAL
