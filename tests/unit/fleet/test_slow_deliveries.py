"""Log deliveries that do not return."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from consumer.errors import SinkUnavailable
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.fleet.slow_deliveries import LOOK_INTERVAL, SLOW_AFTER, SlowDeliveries
from consumer.sinks import Rows
from tests.unit.fakes import ME
from tests.unit.shard.test_consumer import Bench, records
from tests.unit.worlds import Unscheduled


class Watched:
    """Some shards of one worker, and the task that looks at their deliveries."""

    def __init__(self, shards: int) -> None:
        self.benches = [Bench() for _ in range(shards)]
        world = replace(self.benches[0].consumer._context, log=structlog.get_logger())
        self.running_shards = RunningShards(Fleet(ME), self.benches[0].table, world, InitialPosition(), Unscheduled())
        self.running_shards.running = {str(number): bench.consumer for number, bench in enumerate(self.benches)}
        self.task = SlowDeliveries(self.running_shards)
        self.clock = self.benches[0].clock

    def look(self, seconds: float) -> list[Mapping[str, Any]]:
        """Let time pass. Return the log lines."""
        with structlog.testing.capture_logs() as lines:
            for _ in range(int(seconds / LOOK_INTERVAL)):
                self.clock.advance(self.task.step(self.clock()))
        return list(lines)


def deliver(bench: Bench, during: Any) -> None:
    """Let the sink call `during` while it writes a batch."""
    bench.stream.answers = [records(1, 2)]
    write = bench.rows.write

    def hang(rows: Rows) -> int:
        during()
        return write(rows)

    bench.rows.write = hang  # type: ignore[method-assign]
    bench.run()


def test_hanging_writes_of_many_shards_are_one_line_and_their_end_is_another() -> None:
    """Otherwise a pipe that no process reads would stop the worker silently."""
    watched = Watched(3)
    for bench in watched.benches[1:]:
        bench.consumer.delivery.since = 0.0
    told: list[Mapping[str, Any]] = []
    deliver(watched.benches[0], lambda: told.extend(watched.look(SLOW_AFTER + 2 * LOOK_INTERVAL)))
    assert [(line["event"], line["log_level"]) for line in told] == [("delivery.slow", "warning")]
    assert told[0]["error"].startswith("a write to the sink or its checkpoint has not returned for 30 s;")
    for bench in watched.benches[1:]:
        bench.consumer.delivery.since = None
    [ended] = watched.look(LOOK_INTERVAL)
    assert (ended["event"], ended["affected"]) == ("delivery.resumed", 3)


def test_a_write_that_returns_in_time_is_not_logged() -> None:
    """Each write starts the time anew."""
    watched = Watched(1)
    told: list[Mapping[str, Any]] = []
    for _ in range(5):
        deliver(watched.benches[0], lambda: told.extend(watched.look(SLOW_AFTER - LOOK_INTERVAL)))
    assert told == watched.look(5 * SLOW_AFTER) == []


def test_a_shard_that_ended_during_a_slow_write_is_forgotten() -> None:
    """It neither hangs nor resumes."""
    watched = Watched(1)
    watched.benches[0].consumer.delivery.since = 0.0
    assert len(watched.look(SLOW_AFTER + 2 * LOOK_INTERVAL)) == 1
    watched.running_shards.running = {}
    assert watched.look(LOOK_INTERVAL) == []
    assert watched.task._slow == set()


def test_a_delivery_that_fails_does_not_hang() -> None:
    """Failures have a line of their cause already."""

    def fail() -> None:
        raise SinkUnavailable("the disk is full")

    watched = Watched(1)
    deliver(watched.benches[0], fail)
    assert watched.look(2 * SLOW_AFTER) == []
