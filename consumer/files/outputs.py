"""Share open files (a pipe, a terminal, a redirected file) between the parts of this process that write lines to them.

Rows and dead letters may both go to standard output, and standard error to the same pipe (`2>&1`, systemd's journal).
So each open file has one `Output`, whichever descriptor refers to it: one lock, and one flag for an incomplete line.
"""

import contextlib
import fcntl
import os
import select
import stat
import threading
import weakref

NEWLINE = ord("\n")
LOOK_AGAIN = 1000  # milliseconds between attempts to write to a full pipe


class Output:
    """One open file. Hold `lock` while writing lines that belong together."""

    def __init__(self, torn: bool = False) -> None:
        self.lock = threading.Lock()
        self._torn = torn

    @property
    def torn(self) -> bool:
        """Return whether the last line is incomplete."""
        return self._torn

    def on_a_new_line(self, lines: bytes) -> bytes:
        """Return `lines`, after a newline if the last line is incomplete."""
        return b"\n" + lines if self._torn else lines

    def wrote(self, data: memoryview) -> None:
        """Remember whether the written data ends with a newline."""
        if data:
            self._torn = data[-1] != NEWLINE

    def write(self, descriptor: int, lines: bytes) -> None:
        """Write all of `lines`. Block while the reader of a pipe does not read.

        Raises:
            OSError: the write failed; a part of the lines may be written.
        """
        view = memoryview(self.on_a_new_line(lines))
        while view:
            try:
                written = os.write(descriptor, view)
            except BlockingIOError:  # our parent process shares the open file and made it non-blocking
                _wait_until_writable(descriptor)
                continue
            self.wrote(view[:written])
            view = view[written:]


def output_of(descriptor: int) -> Output:
    """Return the `Output` of the open file behind a descriptor. All descriptors of one file share it."""
    found = os.fstat(descriptor)
    with _LOCK:
        output = _OUTPUTS.get((found.st_dev, found.st_ino))
        if output is None:
            output = Output(_ends_within_a_line(descriptor, found))
            _OUTPUTS[found.st_dev, found.st_ino] = output
        return output


_LOCK = threading.Lock()
_OUTPUTS: "weakref.WeakValueDictionary[tuple[int, int], Output]" = weakref.WeakValueDictionary()


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(LOOK_AGAIN)


def _ends_within_a_line(descriptor: int, found: os.stat_result) -> bool:
    """Return whether the file ends with an incomplete line, left by a killed writer."""
    if not stat.S_ISREG(found.st_mode):
        return False
    with contextlib.suppress(OSError):
        reading = os.open(f"/dev/fd/{descriptor}", os.O_RDONLY)  # the descriptor itself is write-only
        try:
            end = found.st_size if _appends(descriptor) else os.lseek(descriptor, 0, os.SEEK_CUR)
            return end > 0 and os.pread(reading, 1, end - 1) != b"\n"
        finally:
            os.close(reading)
    return False


def _appends(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)
