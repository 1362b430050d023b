"""Receive signals, and define the exit codes.

A signal handler runs between any two lines of the main thread, even while that holds a lock. So ours takes no lock: it
stores a number and returns. The interpreter itself writes to the pipe that wakes the main thread.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Exit(IntEnum):
    """Exit codes. After a second signal, the code is 128 plus its number (130, 143)."""

    DONE = 0
    UNEXPECTED = 1
    CONFIGURATION = 2
    NOT_DRAINED = 3


class Signals:
    """Signals that were received. The first one asks for an orderly end; the second one ends the process at once.

    `first`: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._reading, self.pipe = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)
        for end in (self._reading, self.pipe):
            os.set_blocking(end, False)

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Handle a signal."""
        if self.first is not None:
            os._exit(128 + number)
        self.first = number

    def wait(self, seconds: float) -> None:
        """Sleep until a signal, a call of `wake`, or the end of `seconds`. Only for the main thread."""
        if self._poll.poll(seconds * 1000):
            os.read(self._reading, 4096)

    def wake(self) -> None:
        """End the current wait, or the next one. For any thread."""
        with suppress(OSError):  # the pipe is full, so the wait ends anyway
            os.write(self.pipe, b"\0")


@contextmanager
def signals() -> Iterator[Signals]:
    """Handle SIGTERM and SIGINT, and restore the earlier handlers at the end.

    The pipe stays open, because a thread may still call `wake`.
    """
    received = Signals()
    before = {number: signal.signal(number, received.receive) for number in NUMBERS}
    pipe = signal.set_wakeup_fd(received.pipe, warn_on_full_buffer=False)
    try:
        yield received
    finally:
        signal.set_wakeup_fd(pipe)
        for number, handler in before.items():
            signal.signal(number, handler)
