"""Run the life of the process: checks at the start, signals, the end, exit codes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from consumer import worker
from consumer.errors import ConfigurationError, OutputClosed, StreamUnavailable
from consumer.process import Exit, signals
from consumer.records import Reason
from consumer.runtime.scheduler import Lane, ThreadScheduler
from consumer.startup_checks import LOGGED_AFTER, PATIENCE, Checks
from consumer.stop_request import StopRequest
from consumer.telemetry.metrics import Metrics
from consumer.worker import Worker
from tests.unit.clocks import FakeClock


@dataclass
class FakeCoordinator:
    """A coordinator that does what the test requests as soon as it starts."""

    begin: Callable[["FakeCoordinator"], None] = lambda _: None
    finished: bool = True
    caught_up: bool = False
    leases: int = 1
    reads_on: float = 0.0
    undelivered: Sequence[str] = ()
    obstacles: Sequence[str] = ()
    declines_that_fail: int = 0
    journal: list[str] = field(default_factory=list)
    scheduler: Any = None

    def start(self) -> None:
        self.journal.append("start")
        self.begin(self)

    def drain(self, patience: float, until: float) -> float:
        self.journal.append("drain")
        return self.reads_on

    def discard(self, reason: str) -> None:
        self.journal.append("discard")

    def cancel_reads(self) -> None:
        self.journal.append("cancel_reads")
        self.finished = True

    def decline_offers(self) -> bool:
        self.journal.append("decline_offers")
        return self.journal.count("decline_offers") > self.declines_that_fail


def made(coordinator: FakeCoordinator, **options: Any) -> Worker:
    """Return a worker with this coordinator."""

    def build(scheduler: ThreadScheduler) -> Any:
        coordinator.scheduler = scheduler
        return coordinator

    given = {"checks": {}, "closes": [lambda: coordinator.journal.append("close")], "metrics": Metrics(), **options}
    return Worker(coordinator=build, **given)


def run(worker: Worker) -> Exit:
    """Run it as the command does."""
    with signals() as told:
        return worker.run(told)


def caught_up(coordinator: FakeCoordinator) -> None:
    coordinator.caught_up = True


def signalled(coordinator: FakeCoordinator) -> None:
    signal.raise_signal(signal.SIGTERM)


class Raises:
    """A task whose step raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def step(self, now: float) -> float:
        raise self._error


def failing(error: BaseException) -> Callable[[FakeCoordinator], None]:
    def begin(coordinator: FakeCoordinator) -> None:
        coordinator.scheduler.add(Raises(error), Lane.COORDINATOR)

    return begin


@pytest.mark.parametrize("begin", [caught_up, signalled])
def test_an_orderly_end_drains_declines_offers_closes_and_exits_with_0(
    begin: Callable[[FakeCoordinator], None],
) -> None:
    """The order is the same for every reason to stop."""
    coordinator = FakeCoordinator(begin)
    assert run(made(coordinator)) is Exit.DONE
    assert coordinator.journal == ["start", "drain", "decline_offers", "close"]


def test_an_unfinished_drain_exits_with_3_and_closes_nothing() -> None:
    """A thread may still use the connections."""
    coordinator = FakeCoordinator(caught_up, finished=False)
    assert run(made(coordinator, shutdown_timeout=0.05)) is Exit.NOT_DRAINED
    assert coordinator.journal == ["start", "drain"]


def test_an_unfinished_drain_logs_what_its_shards_wait_for() -> None:
    """Otherwise the exit code is all that an operator has."""
    coordinator = FakeCoordinator(caught_up, finished=False, obstacles=["shard-1: the sink is down"])
    with structlog.testing.capture_logs() as lines:
        run(made(coordinator, shutdown_timeout=0.05))
    assert lines[-1]["event"] == "worker.not_drained"
    assert lines[-1]["waits_for"] == ["shard-1: the sink is down"]


def test_a_failed_last_scan_is_retried_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """An offer to us would leave its shard unread until the lease expires."""
    monkeypatch.setattr(worker, "DECLINE_PAUSE", 0.0)
    coordinator = FakeCoordinator(caught_up, declines_that_fail=1)
    assert run(made(coordinator)) is Exit.DONE
    assert coordinator.journal.count("decline_offers") == 2
    away = FakeCoordinator(caught_up, declines_that_fail=99)
    assert run(made(away)) is Exit.DONE
    assert away.journal.count("decline_offers") == worker.DECLINE_ATTEMPTS


def test_undelivered_records_exit_with_3() -> None:
    """All leases are handed off, and yet records are left."""
    assert run(made(FakeCoordinator(signalled, undelivered=["shard-1"]))) is Exit.NOT_DRAINED


def test_reads_under_way_are_cancelled_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """They could last as long as the stream takes to respond."""
    monkeypatch.setattr(worker, "READS_END", 0.02)
    coordinator = FakeCoordinator(caught_up, finished=False)
    assert run(made(coordinator)) is Exit.DONE
    assert "cancel_reads" in coordinator.journal


def test_reads_are_not_cancelled_while_shards_are_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next owners are not ready."""
    monkeypatch.setattr(worker, "READS_END", 0.02)
    coordinator = FakeCoordinator(caught_up, finished=False, reads_on=60.0)
    assert run(made(coordinator, shutdown_timeout=0.1)) is Exit.NOT_DRAINED
    assert "cancel_reads" not in coordinator.journal


def test_a_failed_task_exits_with_1_and_delivers_no_more() -> None:
    """The worker must not run without one of its tasks (docs/guarantees.md#isolation)."""
    coordinator = FakeCoordinator(failing(ZeroDivisionError("+15551234567")))
    assert run(made(coordinator)) is Exit.UNEXPECTED
    assert "discard" in coordinator.journal


def test_a_closed_output_exits_with_0() -> None:
    """With `| head -1`, the reader decided to stop."""
    assert run(made(FakeCoordinator(failing(OutputClosed()), undelivered=["shard-1"]))) is Exit.DONE


def test_a_configuration_error_while_running_is_raised_after_the_end() -> None:
    """Leases are released first."""
    coordinator = FakeCoordinator(failing(ConfigurationError("two of one id")))
    with pytest.raises(ConfigurationError, match="two of one id"):
        run(made(coordinator))
    assert "discard" in coordinator.journal


@pytest.mark.parametrize(("told", "code"), [(True, Exit.UNEXPECTED), (False, Exit.DONE)])
def test_dead_letters_exit_with_1_only_with_the_flag(told: bool, code: Exit) -> None:
    """The flag is --fail-on-dead-letters."""
    metrics = Metrics()
    metrics.dead_lettered(Reason.NOT_JSON, 1)
    assert run(made(FakeCoordinator(caught_up), metrics=metrics, fail_on_dead_letters=told)) is code


class Patient(StopRequest):
    """A stop request that advances the clock instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, seconds: float) -> bool:
        self._clock.advance(seconds)
        return super().wait(0.0)


@pytest.mark.parametrize("takes", [0.0, 3.0, 30.0])
def test_a_failing_dependency_is_retried_for_ten_seconds_at_the_start(takes: float) -> None:
    """No attempt starts that could not end by then. The error has the duration."""
    clock = FakeClock()
    tries = []

    def check() -> None:
        tries.append(clock())
        clock.advance(takes)
        raise StreamUnavailable("no answer")

    with pytest.raises(ConfigurationError, match=r"no answer \(tried for 10 s\)"):
        Checks({"it": check}, clock, Patient(clock)).passed()
    assert clock() - 1000.0 <= max(PATIENCE, takes)
    assert len(tries) == {0.0: 20, 3.0: 3, 30.0: 1}[takes]


def test_a_dependency_that_recovers_in_time_is_enough() -> None:
    """A rolling restart of all services is no configuration error."""
    clock = FakeClock()
    answers: list[Exception | None] = [StreamUnavailable(), StreamUnavailable(), None]

    def check() -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    assert Checks({"it": check}, clock, Patient(clock)).passed()


def test_a_wait_at_the_start_is_logged_once_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """A dependency that responds at once is not logged."""
    structlog.reset_defaults()  # an earlier test may have redirected the log
    clock = FakeClock()
    told: list[str] = []

    def slow() -> None:
        checks.log_wait()
        told.append(capsys.readouterr().out)
        if len(told) < 8:
            raise StreamUnavailable("no answer")

    checks = Checks({"the sink": lambda: None, "the stream": slow}, clock, Patient(clock))
    assert checks.passed()
    checks.log_wait()
    assert capsys.readouterr().out == ""
    [line] = [text for text in told if text]
    assert "start.waiting" in line
    assert "the stream" in line
    assert "no answer" in line
    assert told.index(line) == int(LOGGED_AFTER / 0.5) + 1


def test_a_signal_before_the_start_exits_with_0_and_starts_nothing() -> None:
    """A partial start could create rows from a partial listing."""
    coordinator = FakeCoordinator()

    def check() -> None:
        signal.raise_signal(signal.SIGTERM)
        raise StreamUnavailable  # it would be retried

    assert run(made(coordinator, checks={"it": check})) is Exit.DONE
    assert coordinator.journal == []


def test_hanging_threads_do_not_keep_the_process_alive() -> None:
    """They are daemons, and no thread joins them."""
    hang = threading.Event()

    class Hangs:
        def step(self, now: float) -> None:
            hang.wait(30)

    def begin(coordinator: FakeCoordinator) -> None:
        coordinator.scheduler.add(Hangs(), Lane.SHARDS)
        coordinator.caught_up = True

    assert run(made(FakeCoordinator(begin))) is Exit.DONE
    hang.set()


def hangs(*_: Any) -> None:
    """Block longer than a test lasts."""
    threading.Event().wait(30)


@pytest.mark.parametrize(
    ("method", "code"), [("drain", Exit.NOT_DRAINED), ("cancel_reads", Exit.NOT_DRAINED), ("decline_offers", Exit.DONE)]
)
def test_the_shutdown_deadline_holds_for_any_hanging_call(
    method: str, code: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease table hangs in any thread. After all leases are handed off, this is not an error."""
    monkeypatch.setattr(worker, "READS_END", 0.0)
    coordinator = FakeCoordinator(signalled, finished=method == "decline_offers")
    monkeypatch.setattr(coordinator, method, hangs)
    began = time.monotonic()
    assert run(made(coordinator, shutdown_timeout=0.2)) is code
    assert time.monotonic() - began < 5


def test_a_connection_that_does_not_close_ends_at_the_deadline() -> None:
    """All records are delivered and all leases handed off by then."""
    assert run(made(FakeCoordinator(signalled), closes=[hangs], shutdown_timeout=0.2)) is Exit.DONE


def test_a_hanging_check_does_not_delay_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has started."""
    monkeypatch.setattr(worker, "CHECK_ENDS", 0.1)

    def check() -> None:
        signal.raise_signal(signal.SIGINT)
        hangs()

    began = time.monotonic()
    assert run(made(FakeCoordinator(), checks={"it": check})) is Exit.DONE
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("begin", [signalled, caught_up])
def test_a_signal_that_stops_a_finite_run_exits_with_3(begin: Callable[[FakeCoordinator], None]) -> None:
    """Not all records are read. After the run has caught up, a signal changes nothing."""
    code = Exit.NOT_DRAINED if begin is signalled else Exit.DONE
    assert run(made(FakeCoordinator(begin), until_caught_up=True)) is code


def test_a_failure_during_the_drain_decides_the_exit_code() -> None:
    """The signal came first, but the drain did not complete."""

    def begin(coordinator: FakeCoordinator) -> None:
        coordinator.finished = False
        signalled(coordinator)

    class Fails(FakeCoordinator):
        def drain(self, patience: float, until: float) -> float:
            self.scheduler.add(Raises(ZeroDivisionError()), Lane.SHARDS)
            return super().drain(patience, until)

        def discard(self, reason: str) -> None:
            super().discard(reason)
            assert reason.startswith("ZeroDivisionError")
            self.finished = True

    coordinator = Fails(begin)
    assert run(made(coordinator)) is Exit.UNEXPECTED
    assert "discard" in coordinator.journal


@pytest.mark.parametrize("lane", [Lane.SHARDS, Lane.RENEWALS, Lane.COORDINATOR, Lane.HTTP])
@pytest.mark.parametrize("error", [ZeroDivisionError(), MemoryError(), SystemExit()])
def test_a_failure_in_any_lane_exits_with_1(lane: Lane, error: BaseException) -> None:
    """No other task continues alone."""
    coordinator = FakeCoordinator(lambda fake: fake.scheduler.add(Raises(error), lane))
    assert run(made(coordinator)) is Exit.UNEXPECTED
    assert coordinator.journal[:2] == ["start", "discard"]


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_thread_that_cannot_be_started_exits_with_1(
    lane: Lane, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for every lane."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(lane.value):
            raise error
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)

    def begin(fake: FakeCoordinator) -> None:
        for used in Lane:
            fake.scheduler.add(Idle(), used)

    assert run(made(FakeCoordinator(begin))) is Exit.UNEXPECTED


class Idle:
    """A task that does nothing."""

    def step(self, now: float) -> float:
        return 3600.0


@pytest.mark.parametrize("lane", [Lane.SHARDS, Lane.RENEWALS, Lane.COORDINATOR])
def test_a_defect_of_the_scheduler_exits_with_1(lane: Lane) -> None:
    """Here it cannot compute when a task is due, so its thread would end silently."""

    class Odd(Idle):
        def step(self, now: float) -> float:
            return "soon"  # type: ignore[return-value]

    given_up = threading.Timer(10.0, os.kill, (os.getpid(), signal.SIGTERM))  # it would run forever
    given_up.start()
    assert run(made(FakeCoordinator(lambda fake: fake.scheduler.add(Odd(), lane)))) is Exit.UNEXPECTED
    given_up.cancel()
