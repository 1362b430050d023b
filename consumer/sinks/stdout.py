"""JSON lines on standard output, for a pipe or a terminal. Deduplication what is delivered again.

What is written to a pipe is in the hands of its reader: what the reader has not consumed when it ends is lost.
"""

import fcntl
import os
import stat
import sys
from itertools import islice

from pydantic import BaseModel

from consumer.errors import ConfigurationError, OutputClosed, SinkUnavailable
from consumer.files.disk import reason_of
from consumer.files.outputs import output_of
from consumer.records import BatchLimits
from consumer.sinks import Batch, Deduplication, SinkSchema
from consumer.urls import Url

SCHEMES = ("stdout",)
STDOUT = 1
AT_ONCE = 1_000  # rows in memory; a batch may be larger and lie on disk


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: Url, options: Options, contents: SinkSchema) -> "StdoutSink":
    """Open the sink."""
    if url.path:
        raise ConfigurationError(f"{url.label} stdout: takes no path; to write files say jsonl:DIR")
    if sys.stdout is None:  # then descriptor 1 belongs to whatever is opened next
        raise ConfigurationError(f"{url.label} stdout: standard output is closed; name another --sink")
    try:
        return StdoutSink(STDOUT)
    except OSError as error:
        raise ConfigurationError(f"{url.label} stdout: {reason_of(error)}") from None


class StdoutSink:
    """Writes whole lines, a batch at a time, straight to the file descriptor: nothing waits in a buffer."""

    limits = BatchLimits(rows=1_000, bytes=1024 * 1024, age=1.0)
    repeats = Deduplication.APPENDS

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._output = output_of(descriptor)

    def check(self) -> None:
        """Standard output is there; whether anybody reads it, the first write tells."""
        try:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        except OSError as error:
            raise ConfigurationError(f"standard output: {reason_of(error)}") from None
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise ConfigurationError("standard output can only be read: redirect it, or name another place")

    def write(self, batch: Batch) -> int:
        lines = iter(batch)
        with self._output.lock:
            try:
                while part := b"".join(item.line + b"\n" for item in islice(lines, AT_ONCE)):
                    self._output.write(self._descriptor, part)
                if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    os.fsync(self._descriptor)
            except (BrokenPipeError, ConnectionResetError):
                raise OutputClosed from None
            except (OSError, ValueError) as error:
                raise SinkUnavailable(f"standard output: {reason_of(error)}") from None
        return 0

    def holds(self, name: str) -> bool:
        """Nothing here has a name."""
        return False

    def close(self) -> None:
        """Standard output belongs to the process."""
