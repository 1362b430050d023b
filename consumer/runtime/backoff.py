"""How long to wait before the same step again: doubling, jittered, bounded."""

import random


class Backoff:
    """The waits of one thing that fails: `first`, then about twice the last, at most `most` seconds.

    Each is drawn between half and all of its size, so that a fleet which failed together does not retry together.
    """

    def __init__(self, first: float, most: float, rng: random.Random) -> None:
        self._first, self._most, self._rng = first, most, rng
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        size = min(self._most, self._first * 2 ** min(self.failures, 30))
        self.failures += 1
        return float(size * self._rng.uniform(0.5, 1.0))

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
