"""What the shards of one process share, and how often and how much they read."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from consumer.engine.budget import Budget
from consumer.engine.intake import Process, Seal
from consumer.engine.scheduler import Clock
from consumer.records import BatchLimits, Shard
from consumer.sinks import Sink
from consumer.streams import Stream
from consumer.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how much. `eager` delivers whenever the tip is reached, not only when a batch is ripe."""

    poll_interval: float = 1.0
    limits: BatchLimits = field(default_factory=BatchLimits)
    eager: bool = False
    first_backoff: float = 0.2
    most_backoff: float = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the shards of one process share."""

    stream: Stream
    rows: Sink
    dead_letters: Sink
    budget: Budget
    metrics: Metrics
    pace: Pace
    clock: Clock
    server_time: Callable[[], datetime]
    processor: Callable[[Shard], Process]
    seal: Seal
    rng: random.Random
    log: Any
