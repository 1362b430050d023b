"""Group repeated failures by cause, and log few lines about each."""

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from consumer.errors import (
    ConsumerError,
    CredentialsUnavailable,
    LeaseTableUnavailable,
    SinkUnavailable,
    StreamUnavailable,
    Throttled,
)
from consumer.telemetry.outages import FIRST_INTERVAL, MAX_INTERVAL, QUIET, Outages
from tests.unit.clocks import FakeClock


class Scene:
    """Outages with a fake clock, and the lines that they log."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.lines: list[dict[str, Any]] = []
        self.outages = Outages(structlog.wrap_logger(None, processors=[self._keep]), self.clock)

    def _keep(self, _logger: object, level: str, fields: Any) -> Any:
        self.lines.append({**fields, "log_level": level})
        raise structlog.DropEvent

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    def fails(self, task: object = "a", error: Exception | None = None, event: str = "shard.waiting") -> None:
        self.outages.failed(event, task, error or SinkUnavailable("rows.db: disk full"))


def test_three_hundred_shards_with_one_cause_make_one_line_and_one_end() -> None:
    """The outage ends when the last shard succeeds."""
    scene = Scene()
    for number in range(300):
        scene.fails(number)
    scene.clock.advance(12.0)
    for number in range(300):
        assert scene.events == ["shard.waiting"]
        scene.outages.worked(number)
    assert scene.events == ["shard.waiting", "shard.resumed"]
    end = scene.lines[-1]
    assert end["note"] == "resumed after 12 s"
    assert (end["failures"], end["affected"], end["error"]) == (300, 300, "rows.db: disk full")


def test_a_lasting_failure_is_logged_at_growing_intervals_with_a_count() -> None:
    """Each interval is twice as long as the one before."""
    scene = Scene()
    began, times = scene.clock(), []
    for _ in range(1000):
        before = len(scene.lines)
        scene.fails()
        if len(scene.lines) > before:
            times.append(scene.clock() - began)
        scene.clock.advance(1.0)
    assert times == [0, FIRST_INTERVAL, 3 * FIRST_INTERVAL, 7 * FIRST_INTERVAL, 15 * FIRST_INTERVAL]
    assert "failures" not in scene.lines[0]
    assert scene.lines[1]["failures"] == FIRST_INTERVAL + 1
    assert scene.lines[1]["failing"] == 1
    assert scene.lines[1]["since"] == FIRST_INTERVAL


def test_the_interval_grows_to_an_hour_at_most() -> None:
    """An operator who looks once an hour still sees the failure."""
    scene, last, longest = Scene(), 0.0, 0.0
    for _ in range(24 * 60):
        before = len(scene.lines)
        scene.fails()
        if len(scene.lines) > before:
            longest, last = max(longest, scene.clock() - last if last else 0.0), scene.clock()
        scene.clock.advance(60.0)
    assert longest == MAX_INTERVAL


def test_a_cause_met_by_several_calls_is_one_cause() -> None:
    """The call and the shard come first in the text; names, numbers and times differ."""
    scene = Scene()
    scene.fails("renewals", LeaseTableUnavailable("lease table t: BatchWrite: Throttling"), "renewal.failed")
    scene.fails("scan", LeaseTableUnavailable("lease table t: Scan: Throttling"), "scan.failed")
    scene.fails("x", StreamUnavailable("GetRecords: shardId-000000000001 failed at 10:15"))
    scene.fails("y", StreamUnavailable("GetRecords: shardId-000000000002 failed at 10:16"))
    assert scene.events == ["renewal.failed", "shard.waiting"]


def test_a_cause_that_the_adapter_names_joins_errors_of_any_class() -> None:
    """Missing credentials fail calls to the stream and to the lease table."""
    scene = Scene()
    for error in (StreamUnavailable("GetRecords: expired"), LeaseTableUnavailable("Scan: still waiting")):
        error.cause = ("credentials", 1)
        scene.fails(str(error), error)
    scene.outages.worked("GetRecords: expired")
    scene.outages.worked("Scan: still waiting")
    assert scene.events == ["credentials.not_renewed", "credentials.resumed"]


@pytest.mark.parametrize("first", ["shard", "renewal"])
def test_a_line_about_credentials_is_the_same_for_each_task_that_fails_first(first: str) -> None:
    """A shard and the credentials task meet expired credentials in any order."""
    scene = Scene()
    for task in ("shard", "renewal") if first == "shard" else ("renewal", "shard"):
        if task == "shard":
            denied = StreamUnavailable("stream calls: GetRecords: AWS credentials expired: HTTP 500")
            denied.cause = ("credentials", 1)
            scene.outages.failed("shard.waiting", task, denied, "info", shard="s-1", retry_in=0.4)
        else:
            trouble = CredentialsUnavailable("AWS credentials: HTTP 500")
            trouble.cause = ("credentials", 1)
            scene.outages.failed("credentials.not_renewed", task, trouble, good_for=0)
    scene.outages.worked("renewal")
    scene.outages.worked("shard")
    assert scene.events == ["credentials.not_renewed", "credentials.resumed"]
    assert scene.lines[0]["log_level"] == "warning"
    assert "shard" not in scene.lines[0]


def test_missing_credentials_without_a_cause_have_the_same_event() -> None:
    """An adapter may raise them without naming a cause."""
    scene = Scene()
    scene.fails(error=CredentialsUnavailable("AWS credentials: still waiting"))
    scene.outages.worked("a")
    assert scene.events == ["credentials.not_renewed", "credentials.resumed"]


def test_the_error_code_is_the_cause() -> None:
    """The words around it may differ."""
    scene = Scene()
    for text in ("while reading, it was denied: by one policy", "it was denied: by another policy"):
        error = StreamUnavailable(text)
        error.code = "AccessDeniedException"
        scene.fails(text, error)
    assert len(scene.lines) == 1


@pytest.mark.parametrize(
    "other",
    [
        SinkUnavailable("rows.db: permission denied"),
        StreamUnavailable("rows.db: disk full"),
        Throttled("GetRecords: ProvisionedThroughputExceededException"),
        ZeroDivisionError("x"),
    ],
)
def test_another_cause_is_logged_at_once(other: Exception) -> None:
    """It is another dependency, or another failure of the same one."""
    scene = Scene()
    scene.fails("a")
    scene.fails("a", other)
    assert len(scene.lines) == 2


def test_a_task_with_two_causes_ends_both_when_it_works() -> None:
    """Its success shows that neither lasts."""
    scene = Scene()
    scene.fails("a")
    scene.fails("a", StreamUnavailable("gone"))
    scene.outages.worked("a")
    assert scene.events[2:] == ["shard.resumed", "shard.resumed"]


def test_a_flapping_failure_thins_out_but_stays_in_the_log() -> None:
    """It makes one line and one end per interval."""
    scene = Scene()
    for _ in range(1000):
        scene.fails()
        scene.clock.advance(0.5)
        scene.outages.worked("a")
        scene.clock.advance(0.5)
    assert scene.events == ["shard.waiting", "shard.resumed"] * 5
    assert scene.lines[2]["failures"] == FIRST_INTERVAL


def test_a_failure_after_a_quiet_time_is_logged_at_once() -> None:
    """It counts as another outage."""
    scene = Scene()
    scene.fails()
    scene.outages.worked("a")
    scene.clock.advance(QUIET + 1)
    scene.fails()
    scene.clock.advance(3)
    scene.outages.worked("a")
    assert scene.events == ["shard.waiting", "shard.resumed"] * 2
    assert scene.lines[-1]["note"] == "resumed after 3 s"


def test_causes_that_ended_long_ago_take_no_memory() -> None:
    """A worker runs for months, and each failure may have another text."""
    scene = Scene()
    scene.fails("lasting", SinkUnavailable("disk full"))
    for letter in "abcdefghij":
        scene.fails("a", SinkUnavailable(f"rows {letter}: broken {letter}"))
        scene.outages.worked("a")
        scene.clock.advance(QUIET + 1)
    assert len(scene.outages._outages) == 2
    scene.outages.worked("lasting")
    assert scene.lines[-1]["error"] == "disk full"


def test_a_forgotten_task_does_not_end_its_outage() -> None:
    """A shard that was handed off says nothing about its sink."""
    scene = Scene()
    scene.fails("a")
    scene.outages.forget("a")
    assert scene.events == ["shard.waiting"]
    scene.fails("b")
    scene.outages.worked("b")
    assert scene.events == ["shard.waiting", "shard.resumed"]


def test_a_task_that_never_failed_logs_nothing() -> None:
    """Its success is not recorded."""
    scene = Scene()
    scene.outages.worked("a")
    scene.outages.forget("a")
    assert scene.lines == []


def test_an_unforeseen_error_is_logged_by_type_and_location() -> None:
    """Its text may contain a value of an event."""
    scene = Scene()
    try:
        int("+15551234567x")
    except ValueError as error:
        scene.fails("a", error)
    assert scene.lines[0]["error"] == "ValueError"
    assert scene.lines[0]["where"].startswith("test_outages.py:")
    assert "1555" not in str(scene.lines)


def test_a_line_contains_the_fields_of_its_caller() -> None:
    """A shard adds its id and the seconds until its retry."""
    with capture_logs() as lines:
        outages = Outages(structlog.get_logger(), FakeClock())
        outages.failed("shard.halted", "a", ConsumerError("odd"), "error", shard="s-1", retry_in=0.5)
    assert lines == [
        {"event": "shard.halted", "log_level": "error", "error": "odd", "shard": "s-1", "retry_in": 0.5},
    ]
