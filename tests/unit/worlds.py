"""Provide the environment of shard and fleet code, with a stream and a clock of the test's choice."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from consumer.decoding.decoder import Decoder
from consumer.pipeline.intake import Decode
from consumer.pipeline.pipeline import Pipeline
from consumer.records import BatchLimits, Record, Shard
from consumer.runtime.memory_budget import MemoryBudget
from consumer.runtime.scheduler import Lane, Task
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.streams import Stream
from consumer.telemetry.metrics import Metrics
from tests.unit.clocks import FakeClock
from tests.unit.drivers import ListSink
from tests.unit.fakes import encode_dead_letter

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass
class Log:
    """A log that keeps the names of events at warning level and above."""

    told: list[str] = field(default_factory=list)

    def __call__(self, _logger: Any, method: str, event: Any) -> Any:
        if method in ("warning", "error"):
            self.told.append(event["event"])
        raise structlog.DropEvent


class Unscheduled:
    """A scheduler that runs nothing."""

    def add(self, task: Task, lane: Lane) -> None:
        """Do nothing, because the test steps the task."""

    def wake(self, task: Task) -> None:
        """Do nothing."""


def decoder(shard: Shard) -> Decode[Record]:
    """Return the decoder of a shard."""
    return Decoder("calls", shard)


def shard_context(stream: Stream, clock: FakeClock, eager: bool = False, log: Log | None = None) -> ShardContext:
    """Return a shard context with unlimited memory. Its clock counts seconds since noon."""
    return ShardContext(
        stream=stream,
        pipeline=Pipeline(ListSink(), ListSink(), BatchLimits(), encode_dead_letter, Metrics()),
        budget=MemoryBudget(1 << 30),
        polling=PollingPolicy(eager=eager),
        clock=clock,
        server_time=lambda: NOON + timedelta(seconds=clock()),
        decoder=decoder,
        rng=random.Random(1),
        log=structlog.wrap_logger(None, processors=[log or Log()]),
    )
