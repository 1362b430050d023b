"""How the worker of a replay differs from other workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.leases import Lease
from consumer.pipeline.intake import Decode
from consumer.records import Record, StreamSummary
from consumer.replay.bounded_stream import BoundedStream
from consumer.replay.bounds import Bounds, digest
from consumer.replay.progress import LOGGED, Progress, Show
from consumer.replay.selection import SelectingDecode, Selection
from consumer.settings import Settings
from consumer.streams import Stream
from consumer.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Replay:
    """A bounded reading. `share`: how much of a shard's limits for reads and bytes it may use, from 0 to 1.

    `selection`: the rows to write; None: all.
    `show` is called every `interval` seconds, see `Progress`.
    """

    bounds: Bounds
    share: float
    selection: Selection | None = None
    show: Show = lambda *_: None
    interval: float = LOGGED

    @property
    def label(self) -> str:
        """Return what distinguishes its batches by name.

        A batch may have the same records as one that a worker wrote, and other rows: filters or a newer decoder made
        it. A sink that recognises batches by name would take it for written.
        """
        return f".replay-{digest(self.bounds.suffix)}"

    @property
    def end(self) -> datetime:
        """Return the time at which the reading ends."""
        return self.bounds.end

    def settings(self, settings: Settings, keep_http: bool) -> Settings:
        """Return the settings of the replay's worker, from those of the workers that it runs beside.

        It has an application name, and so checkpoints, that they do not use. `keep_http`: its address was given for
        the replay, not for all workers of this host.
        """
        return settings.model_copy(
            update={
                "application": f"{settings.name}.{self.bounds.suffix}",
                "leases": _beside(settings.leases, self.bounds.suffix),
                "from_": self.bounds.start,
                "until_caught_up": True,
                "http": settings.http if keep_http else "",
            }
        )

    def stream(self, stream: Stream) -> Stream:
        """Return the stream up to the bound."""
        return BoundedStream(stream, self.bounds.end, self.bounds.shards)

    def decoder(self, decode: Decode[Record]) -> Decode[Record]:
        """Return the decoder of a shard, with the selection."""
        return decode if self.selection is None else SelectingDecode(decode, self.selection)

    def progress(self, scan: Callable[[], Sequence[Lease]], metrics: Metrics, summary: StreamSummary) -> Progress:
        """Return the task that shows how far the replay is."""
        oldest = max(summary.created_at, summary.server_time - timedelta(seconds=summary.retention))
        return Progress(
            scan, lambda: metrics.rows_written + metrics.repeated, self.bounds, oldest, self.show, self.interval
        )


def _beside(leases: str, suffix: str) -> str:
    """Return the URL of the lease table. A table of DynamoDB holds one application, so a named one gets a suffix."""
    scheme, _, rest = leases.partition(":")
    path, mark, options = rest.partition("?")
    return f"{scheme}:{path}.{suffix}{mark}{options}" if scheme == "dynamodb" and path else leases
