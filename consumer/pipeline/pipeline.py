"""Where everything goes that a shard's records become: what every driver of the pipeline needs, whoever says when."""

from collections.abc import Callable
from dataclasses import dataclass

from consumer.pipeline.batching import Buffer
from consumer.pipeline.delivery import Checkpointer, Delivery
from consumer.pipeline.intake import EncodeDeadLetter, Intake
from consumer.records import BatchLimits
from consumer.sinks import Sink
from consumer.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The sinks of one process, and how batches are made for them. `version` names the decoder and its settings."""

    rows: Sink
    dead_letters: Sink
    limits: BatchLimits
    encode_dead_letter: EncodeDeadLetter
    metrics: Metrics
    version: str = ""
    flush_log: Callable[[], None] = lambda: None  # log the dead letters that are not logged yet

    def check(self) -> None:
        """Find out whether both sinks can be written to; raises what `Sink.check` raises."""
        self.rows.check()
        self.dead_letters.check()

    def buffer(self, shard_id: str, memory: int | None = None) -> Buffer:
        """An empty buffer; `memory` as the buffer takes it."""
        return Buffer(shard_id, self.limits, memory)

    def intake(self) -> Intake:
        """What fills buffers."""
        return Intake(self.encode_dead_letter)

    def delivery(self, checkpointer: Checkpointer) -> Delivery:
        """What delivers batches as long as `checkpointer` lets it."""
        return Delivery(checkpointer, self.rows, self.dead_letters, self.encode_dead_letter, self.metrics, self.version)
