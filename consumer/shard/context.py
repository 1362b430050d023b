"""Hold what all shards of one process share."""

import random
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from consumer.pipeline.intake import Decode
from consumer.pipeline.pipeline import Pipeline
from consumer.records import Record, Shard
from consumer.runtime.clock import Clock
from consumer.runtime.memory_budget import MemoryBudget
from consumer.streams import Stream
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.outages import Outages


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """How often a shard is read at its tip, in seconds. `eager`: deliver at the tip, without waiting for batch age.

    `share`: how much of a shard's limits for reads and bytes this worker may use, from 0 to 1.
    """

    poll_interval: float = 1.0
    eager: bool = False
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class ShardContext:
    """The dependencies of every shard consumer.

    `decoder` returns the decoder of a shard. `retention`: seconds for which the stream keeps records.
    """

    stream: Stream
    pipeline: Pipeline
    budget: MemoryBudget
    polling: PollingPolicy
    clock: Clock
    server_time: Callable[[], datetime]
    decoder: Callable[[Shard], Decode[Record]]
    rng: random.Random
    log: Any
    retention: Callable[[], float] = lambda: 86_400.0

    outages: Outages = field(init=False)
    shared_outages: InitVar[Outages | None] = None  # set when other tasks of the process report failures too

    def __post_init__(self, shared_outages: Outages | None) -> None:
        object.__setattr__(self, "outages", shared_outages or Outages(self.log, self.clock))

    def horizon(self) -> datetime:
        """Return the trim horizon: the stream no longer has records that arrived before this instant."""
        return self.server_time() - timedelta(seconds=self.retention())

    @property
    def metrics(self) -> Metrics:
        """Return the metrics, which the pipeline counts in too."""
        return self.pipeline.metrics
