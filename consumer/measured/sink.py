"""A sink that tells how long each write took, and whether it failed."""

import time
from collections.abc import Callable

from consumer.errors import BatchRejected, OutputClosed, RowsRejected
from consumer.sinks import Batch, Sink


class MeasuredSink:
    """The sink inside, unchanged. `tell` gets the seconds of each write and whether it failed.

    Rows that are rejected are an answer like another, and a reader who is gone is nobody's failure.
    """

    def __init__(self, sink: Sink, tell: Callable[[float, bool], None]) -> None:
        self._sink, self._tell = sink, tell
        self.limits, self.repeats = sink.limits, sink.repeats
        self.check, self.holds, self.close = sink.check, sink.holds, sink.close

    def write(self, batch: Batch) -> int:
        began = time.monotonic()
        failed = True
        try:
            repeated = self._sink.write(batch)
            failed = False
        except (RowsRejected, BatchRejected, OutputClosed):
            failed = False
            raise
        finally:
            self._tell(time.monotonic() - began, failed)
        return repeated
