"""A sink that reports the duration and failure of each write."""

import time
from collections.abc import Callable

from consumer.errors import BatchRejected, OutputClosed, RowsRejected
from consumer.sinks import Rows, Sink, payload_of, suffix_of


class MeasuredSink:
    """Delegate to `sink`. Call `report` after each write with its seconds and whether it failed.

    Rejected rows and a closed output do not count as failures: the sink itself works.
    """

    def __init__(self, sink: Sink, report: Callable[[float, bool], None]) -> None:
        self._sink, self._report = sink, report
        self.limits, self.repeats, self.rejects_rows = sink.limits, sink.repeats, sink.rejects_rows
        self.suffix, self.payload = suffix_of(sink), payload_of(sink)
        self.check, self.holds, self.close = sink.check, sink.holds, sink.close

    def write(self, rows: Rows) -> int:
        began = time.monotonic()
        failed = True
        try:
            repeated = self._sink.write(rows)
            failed = False
        except (RowsRejected, BatchRejected, OutputClosed):
            failed = False
            raise
        finally:
            self._report(time.monotonic() - began, failed)
        return repeated
