"""Write JSON lines to standard output, for a pipe or a terminal. Duplicates are kept.

Rows that the reader of a pipe has not consumed when it ends are lost.
"""

import fcntl
import os
import stat
import sys

from pydantic import BaseModel

from consumer.errors import ConfigurationError, OutputClosed, SinkUnavailable
from consumer.files.disk import reason_of
from consumer.files.outputs import output_of
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows, SinkSchema
from consumer.urls import Url

STDOUT = 1


class Options(BaseModel, extra="forbid"):
    """This sink has no options."""


def connect(url: Url, options: Options, contents: SinkSchema) -> "StdoutSink":
    """Return the sink for a URL."""
    if url.path:
        raise ConfigurationError(f"{url.label} stdout: takes no path; to write files say jsonl:DIR")
    if sys.stdout is None:  # descriptor 1 is closed, and the next file to be opened would get it
        raise ConfigurationError(f"{url.label} stdout: standard output is closed; name another --sink")
    try:
        return StdoutSink(STDOUT)
    except OSError as error:
        raise ConfigurationError(f"{url.label} stdout: {reason_of(error)}") from None


class StdoutSink:
    """Write each batch as whole lines, directly to the file descriptor without a buffer."""

    limits = BatchLimits(rows=1_000, bytes=1024 * 1024, age=1.0)
    repeats = Deduplication.APPENDS
    rejects_rows = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._output = output_of(descriptor)
        self._has_name = os.fstat(descriptor).st_nlink > 0  # a temporary file of the parent process has none

    def check(self) -> None:
        """Check that standard output is open for writing. Only the first write shows whether it is read."""
        try:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        except OSError as error:
            raise ConfigurationError(f"standard output: {reason_of(error)}") from None
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise ConfigurationError("standard output can only be read: redirect it, or name another place")

    def write(self, rows: Rows) -> int:
        with self._output.lock:
            try:
                self._follow()
                for block in rows:
                    self._output.write(self._descriptor, block.lines)
                if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    os.fsync(self._descriptor)
                self._follow()
            except (BrokenPipeError, ConnectionResetError):
                raise OutputClosed("standard output was closed by its reader") from None
            except (OSError, ValueError) as error:
                raise SinkUnavailable(f"standard output: {reason_of(error)}") from None
        return 0

    def _follow(self) -> None:
        """Check that the file has not been deleted, and go to the end of one that was truncated.

        Raises:
            SinkUnavailable: the file was deleted.
        """
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        if self._has_name and status.st_nlink == 0:
            raise SinkUnavailable("standard output: its file was deleted while in use; restart this worker")
        if os.lseek(self._descriptor, 0, os.SEEK_CUR) > status.st_size:  # writing there would fill the gap with zeros
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def holds(self, name: str) -> bool:
        """Return False: standard output does not store batch names."""
        return False

    def close(self) -> None:
        """Do nothing: standard output belongs to the process."""
