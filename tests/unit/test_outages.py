"""Failures that repeat: how many lines they make, and when."""

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from consumer.errors import (
    ConsumerError,
    LeaseTableUnavailable,
    SinkUnavailable,
    StreamUnavailable,
    Throttled,
)
from consumer.telemetry.outages import FIRST_INTERVAL, MOST_INTERVAL, QUIET, Outages
from tests.unit.clocks import FakeClock


class Scene:
    """Outages, the lines that they make, and a clock."""

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

    def fails(self, who: object = "a", error: Exception | None = None, event: str = "shard.waiting") -> None:
        self.outages.failed(event, who, error or SinkUnavailable("rows.db: disk full"))

    def fails_for(self, seconds: int, who: object = "a") -> None:
        """Fail once a second."""
        for _ in range(seconds):
            self.fails(who)
            self.clock.advance(1.0)


def test_three_hundred_shards_that_fail_for_one_cause_are_one_line_and_one_end() -> None:
    """The last one that works again ends it."""
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


def test_what_goes_on_is_told_at_growing_intervals_with_a_count() -> None:
    """At first, after one interval, then after twice as long each time."""
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
    """Nobody reads back further."""
    scene, last, longest = Scene(), 0.0, 0.0
    for _ in range(24 * 60):
        before = len(scene.lines)
        scene.fails()
        if len(scene.lines) > before:
            longest, last = max(longest, scene.clock() - last if last else 0.0), scene.clock()
        scene.clock.advance(60.0)
    assert longest == MOST_INTERVAL


def test_a_cause_met_by_several_calls_is_one_cause() -> None:
    """The call and the shard stand before it; names, numbers and times in it differ."""
    scene = Scene()
    scene.fails("renewals", LeaseTableUnavailable("lease table t: BatchWrite: Throttling"), "renewal.failed")
    scene.fails("scan", LeaseTableUnavailable("lease table t: Scan: Throttling"), "scan.failed")
    scene.fails("x", StreamUnavailable("GetRecords: shardId-000000000001 failed at 10:15"))
    scene.fails("y", StreamUnavailable("GetRecords: shardId-000000000002 failed at 10:16"))
    assert scene.events == ["renewal.failed", "shard.waiting"]


def test_a_cause_that_the_adapter_names_joins_errors_of_any_kind() -> None:
    """Such as credentials that are missing, for which stream and lease table fail."""
    scene = Scene()
    for error in (StreamUnavailable("GetRecords: expired"), LeaseTableUnavailable("Scan: still waiting")):
        error.cause = ("credentials", 1)
        scene.fails(str(error), error)
    scene.outages.worked("GetRecords: expired")
    scene.outages.worked("Scan: still waiting")
    assert scene.events == ["shard.waiting", "shard.resumed"]


def test_the_code_of_an_error_is_its_cause() -> None:
    """Whatever the sentence around it."""
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
def test_another_cause_is_told_at_once(other: Exception) -> None:
    """Another party, or other words of the same one."""
    scene = Scene()
    scene.fails("a")
    scene.fails("a", other)
    assert len(scene.lines) == 2


def test_one_that_fails_for_two_causes_ends_both() -> None:
    """It works, so neither lasts."""
    scene = Scene()
    scene.fails("a")
    scene.fails("a", StreamUnavailable("gone"))
    scene.outages.worked("a")
    assert scene.events[2:] == ["shard.resumed", "shard.resumed"]


def test_what_comes_and_goes_thins_out_and_is_never_silent_for_good() -> None:
    """A line and its end an interval, not one a second."""
    scene = Scene()
    for _ in range(1000):
        scene.fails()
        scene.clock.advance(0.5)
        scene.outages.worked("a")
        scene.clock.advance(0.5)
    assert scene.events == ["shard.waiting", "shard.resumed"] * 5
    assert scene.lines[2]["failures"] == FIRST_INTERVAL


def test_what_comes_back_after_a_quiet_time_is_told_at_once() -> None:
    """It is another outage."""
    scene = Scene()
    scene.fails()
    scene.outages.worked("a")
    scene.clock.advance(QUIET + 1)
    scene.fails()
    scene.clock.advance(3)
    scene.outages.worked("a")
    assert scene.events == ["shard.waiting", "shard.resumed"] * 2
    assert scene.lines[-1]["note"] == "resumed after 3 s"


def test_who_is_forgotten_has_not_resumed() -> None:
    """A shard that was handed over while its sink was away says nothing of the sink."""
    scene = Scene()
    scene.fails("a")
    scene.outages.forget("a")
    assert scene.events == ["shard.waiting"]
    scene.fails("b")
    scene.outages.worked("b")
    assert scene.events == ["shard.waiting", "shard.resumed"]


def test_nothing_is_told_of_what_never_failed() -> None:
    """And nothing is kept."""
    scene = Scene()
    scene.outages.worked("a")
    scene.outages.forget("a")
    assert scene.lines == []


def test_an_error_that_is_not_ours_is_told_by_type_and_place() -> None:
    """Its text may carry a value of an event."""
    scene = Scene()
    try:
        int("+15551234567x")
    except ValueError as error:
        scene.fails("a", error)
    assert scene.lines[0]["error"] == "ValueError"
    assert scene.lines[0]["where"].startswith("test_outages.py:")
    assert "1555" not in str(scene.lines)


def test_a_line_has_what_the_caller_knows() -> None:
    """Such as which shard is the first, and when it is tried again."""
    with capture_logs() as lines:
        outages = Outages(structlog.get_logger(), FakeClock())
        outages.failed("shard.halted", "a", ConsumerError("odd"), "error", shard="s-1", retry_in=0.5)
    assert lines == [
        {"event": "shard.halted", "log_level": "error", "error": "odd", "shard": "s-1", "retry_in": 0.5},
    ]
