"""Create the parts of the pipeline that the worker, the daemon's child and Lambda share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from consumer.pipeline.batching import Buffer, EncodeDeadLetter
from consumer.pipeline.delivery import Checkpointer, Delivery
from consumer.pipeline.rejections import BreakerLimits, Judge
from consumer.records import BatchLimits
from consumer.rejection_policy import KEEP, Policies
from consumer.runtime.clock import Clock, boottime
from consumer.sinks import Sink, payload_of
from consumer.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The sinks of one process, and the limits of batches. `version` identifies the decoder and its settings.

    `label`: stands behind the shard in the names of batches, so that a replay uses no name of another worker.
    """

    rows: Sink
    dead_letters: Sink
    limits: BatchLimits
    encode_dead_letter: EncodeDeadLetter
    metrics: Metrics
    version: str = ""
    policies: Policies = field(default_factory=lambda: KEEP)
    breaker: BreakerLimits | None = None
    flush_log: Callable[[], None] = lambda: None  # log the dead letters that are not logged yet
    label: str = ""

    def check(self) -> None:
        """Check that both sinks can be written.

        Raises:
            ConfigurationError, SinkUnavailable: as `Sink.check` raises them.
        """
        self.rows.check()
        self.dead_letters.check()

    def buffer(self, shard_id: str, memory: int | None = None) -> Buffer:
        """Return an empty buffer. `memory` limits its bytes in memory."""
        return Buffer(shard_id + self.label, self.limits, self.encode_dead_letter, memory)

    def judge(self, spared: Callable[[int], bool] = lambda _: False, clock: Clock = boottime) -> Judge:
        """Return an object that decides about the rejected events of one shard."""
        return Judge(self.policies, self.breaker, spared, clock)

    def delivery(self, checkpointer: Checkpointer, clock: Clock = boottime, judge: Judge | None = None) -> Delivery:
        """Return an object that delivers batches while `checkpointer` allows it."""
        sinks = self.rows, self.dead_letters
        return Delivery(checkpointer, *sinks, self.encode_dead_letter, self.metrics, self.version, clock, judge)


def limits_of(sink: Sink, memory: int, rows: int | None, size: int | None, age: float | None) -> BatchLimits:
    """Return the limits that are given, of rows, bytes and seconds, and the sink's own for those that are not.

    What a write of the sink's own bytes keeps in memory must fit into `memory`, too: a single shard may use all of it.
    """
    own, payload = sink.limits, payload_of(sink)
    fitting = min(own.bytes, int(memory / (1 + payload))) if payload else own.bytes
    return BatchLimits(rows or own.rows, size or fitting, age or own.age)
