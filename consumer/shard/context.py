"""What the shards of one process share, and how often they read."""

import random
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from consumer.pipeline.intake import Process
from consumer.pipeline.pipeline import Pipeline
from consumer.records import Shard
from consumer.runtime.clock import Clock
from consumer.runtime.memory_budget import MemoryBudget
from consumer.streams import Stream
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.outages import Outages


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """How often. `eager` delivers whenever the tip is reached, not only when a batch is ripe.

    What fails is tried again after `most_backoff` seconds at the latest: so long at most does a shard stand still once
    the stream, the table or the sink is back. A defect does not go away by itself, and is loud.
    """

    poll_interval: float = 1.0
    eager: bool = False
    first_backoff: float = 0.2
    most_backoff: float = 5.0
    most_after_defects: float = 30.0


@dataclass(frozen=True, slots=True)
class ShardContext:
    """What the shards of one process share."""

    stream: Stream
    pipeline: Pipeline
    budget: MemoryBudget
    polling: PollingPolicy
    clock: Clock
    server_time: Callable[[], datetime]
    processor: Callable[[Shard], Process]
    rng: random.Random
    log: Any
    retention: Callable[[], float] = lambda: 86_400.0  # seconds for which the stream keeps records

    outages: Outages = field(init=False)
    shared_outages: InitVar[Outages | None] = None  # of the process, where others tell failures, too

    def __post_init__(self, shared_outages: Outages | None) -> None:
        object.__setattr__(self, "outages", shared_outages or Outages(self.log, self.clock))

    def horizon(self) -> datetime:
        """Return the instant at which the retention begins: the stream trims what arrived before."""
        return self.server_time() - timedelta(seconds=self.retention())

    @property
    def metrics(self) -> Metrics:
        """What is counted, by the pipeline too."""
        return self.pipeline.metrics
