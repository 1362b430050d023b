"""Compute how long to wait before a step that failed is repeated."""

from dataclasses import dataclass
from random import Random

_MOST_DOUBLINGS = 30  # the exponent is bounded, because a float overflows


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The waits after consecutive failures, in seconds: `first`, then `factor` times the last, at most `most`.

    Each wait is multiplied by a random factor from `1 - jitter` to 1, so that workers that failed together do not retry
    together.
    """

    first: float
    most: float
    factor: float = 2.0
    jitter: float = 0.5

    def wait(self, failures: int, rng: Random) -> float:
        """Return the seconds to wait after one more failure; `failures` are those before it."""
        return self.jittered(self.longest(failures), rng)

    def longest(self, failures: int) -> float:
        """Return the longest wait in seconds after one more failure, without jitter."""
        return min(self.most, self.first * self.factor ** min(failures, _MOST_DOUBLINGS))

    def jittered(self, longest: float, rng: Random) -> float:
        """Return `longest` multiplied by a random factor from `1 - jitter` to 1."""
        return longest * rng.uniform(1.0 - self.jitter, 1.0)


class Backoff:
    """Count the consecutive failures of one operation, and return the waits of its policy."""

    def __init__(self, policy: RetryPolicy, rng: Random) -> None:
        self._policy, self._rng = policy, rng
        self.failures = 0

    def next(self) -> float:
        """Note a failure; return the seconds to wait."""
        wait = self._policy.wait(self.failures, self._rng)
        self.failures += 1
        return wait

    def reset(self) -> None:
        """Note a success."""
        self.failures = 0
