"""The clock by which everything is due, and by which a lease runs out."""

import time
from collections.abc import Callable

Clock = Callable[[], float]  # seconds since an unknown instant; never goes back


def boottime() -> float:
    """Seconds on a clock that never jumps and, where the system has one, goes on while a laptop sleeps.

    A lease runs out for the others while its owner is suspended, so the owner's clock must not stand still.
    """
    return time.clock_gettime(_BOOTTIME)


_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
