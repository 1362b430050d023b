"""JSON lines on standard output, for a pipe or a terminal. Repeats what is delivered again."""

import os
import stat
import sys
import threading
from itertools import islice

from pydantic import BaseModel

from consumer.errors import ConfigurationError, OutputClosed, SinkUnavailable
from consumer.places import PlaceUrl
from consumer.records import BatchLimits
from consumer.sinks import Batch, Contents, Repeats

SCHEMES = ("stdout",)
STDOUT = 1
AT_ONCE = 1_000  # rows in memory; a batch may be larger and lie on disk


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: PlaceUrl, options: Options, contents: Contents) -> "StdoutSink":
    """Open the sink."""
    if url.path:
        raise ConfigurationError(f"{url.label} stdout: takes no path; to write files say jsonl:DIR")
    if sys.stdout is None:  # then descriptor 1 belongs to whatever is opened next
        raise ConfigurationError(f"{url.label} stdout: standard output is closed; name another --sink")
    return StdoutSink(STDOUT)


class StdoutSink:
    """Writes whole lines, a batch at a time, straight to the file descriptor: nothing waits in a buffer."""

    limits = BatchLimits(rows=1_000, bytes=1024 * 1024, age=1.0)
    repeats = Repeats.APPENDS

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._torn = False

    def check(self) -> None:
        """Standard output is there; whether anybody reads it, the first write tells."""

    def write(self, batch: Batch) -> int:
        lines = iter(batch)
        with self._lock:
            try:
                while part := b"".join(item.line + b"\n" for item in islice(lines, AT_ONCE)):
                    self._write(b"\n" + part if self._torn else part)
                if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    os.fsync(self._descriptor)
            except (BrokenPipeError, ValueError):
                raise OutputClosed from None
            except OSError as error:
                raise SinkUnavailable(f"standard output: {error.strerror}") from None
        return 0

    def _write(self, data: bytes) -> None:
        """Write all of it; after a failure in the middle the next line begins on a line of its own."""
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
            self._torn = bool(view)

    def holds(self, name: str) -> bool:
        """Nothing here has a name."""
        return False

    def close(self) -> None:
        """Standard output belongs to the process."""
