"""The process as others see it: signals come in, an exit code goes out.

A signal handler runs between any two lines of the main thread, those inside of a lock or an `Event` too. So ours takes
no lock: it sets a number and returns. The interpreter itself writes to the pipe that wakes the main thread.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from types import FrameType

HEARD = (signal.SIGTERM, signal.SIGINT)


class Exit(IntEnum):
    """Exit codes; a signal that ends the process at once makes it 128 and the signal's number (130, 143)."""

    DONE = 0
    UNEXPECTED = 1
    CONFIGURATION = 2
    NOT_DRAINED = 3


class Signals:
    """What the process was told: the first signal asks for an orderly end, the second one ends it at once.

    `first` is the number of the first one.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._reading, self.pipe = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)
        for end in (self._reading, self.pipe):
            os.set_blocking(end, False)

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """Take in a signal."""
        if self.first is not None:
            os._exit(128 + number)
        self.first = number

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes, `wake` is called, or `seconds` have passed. For the main thread."""
        if self._poll.poll(seconds * 1000):
            os.read(self._reading, 4096)

    def wake(self) -> None:
        """End the wait that is under way, or else the next one. For any thread."""
        with suppress(OSError):  # full: it will wake up all the same
            os.write(self.pipe, b"\0")


@contextmanager
def signals() -> Iterator[Signals]:
    """Hear SIGTERM and SIGINT; puts back what was there. The pipe stays open: a thread may wake us late."""
    told = Signals()
    before = {number: signal.signal(number, told.hear) for number in HEARD}
    pipe = signal.set_wakeup_fd(told.pipe, warn_on_full_buffer=False)
    try:
        yield told
    finally:
        signal.set_wakeup_fd(pipe)
        for number, handler in before.items():
            signal.signal(number, handler)
