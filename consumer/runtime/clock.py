"""Give the clock for due times and lease deadlines."""

import time
from collections.abc import Callable

Clock = Callable[[], float]  # seconds since an unknown instant; never goes back


def boottime() -> float:
    """Return the seconds on a clock that never jumps and, if the system has one, runs while the machine is suspended.

    For other workers a lease expires while its owner is suspended, so the owner's clock must not stop.
    """
    return time.clock_gettime(_BOOTTIME)


_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
