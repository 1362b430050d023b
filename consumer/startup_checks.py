"""What is asked before anything begins: does everything that the worker depends on answer, do rows and stream match?

A dependency may come up a little later than we do, so it is tried for a while. Afterwards it is tried for ever.
"""

from collections.abc import Callable, Mapping

import structlog

from consumer.errors import ConfigurationError, Retryable
from consumer.runtime.clock import Clock
from consumer.stop_request import StopRequest

# How long a dependency that fails is tried before the first lease is taken, seconds; afterwards for ever.
PATIENCE = 10.0
BETWEEN_TRIES = 0.5
SAID_AFTER = 2.0  # seconds of waiting for one thing, after which a line says for what


class Checks:
    """Makes the checks one after the other. Each is named for what it asks."""

    def __init__(self, checks: Mapping[str, Callable[[], object]], clock: Clock, ending: StopRequest) -> None:
        self._checks, self._clock, self._ending = checks, clock, ending
        self._asked: tuple[str, float] | None = None  # what is asked now, and since when
        self._error: Retryable | None = None

    def passed(self) -> bool:
        """Make all of them; False when the run has to end before that.

        Raises:
            ConfigurationError: one of them has not worked for `PATIENCE` seconds, or cannot.
        """
        for what, check in self._checks.items():
            self._error, self._asked = None, (what, self._clock())
            if not self._tried(check):
                return False
        self._asked = None
        return True

    def tell(self) -> None:
        """Say what is waited for, once, when that lasts. Called from another thread: a check may hang."""
        asked = self._asked
        if asked is not None and self._clock() - asked[1] > SAID_AFTER:
            self._asked = None
            why = {} if self._error is None else {"error": str(self._error)}
            structlog.get_logger().info("start.waiting", on=asked[0], **why)

    def _tried(self, check: Callable[[], object]) -> bool:
        give_up = self._clock() + PATIENCE
        while True:
            began = self._clock()
            try:
                check()
                return not self._ending.wait(0.0)
            except Retryable as error:
                self._error, now = error, self._clock()
                if now + max(BETWEEN_TRIES, now - began) >= give_up:
                    raise ConfigurationError(f"{error} (tried for {PATIENCE:.0f} s)") from error
            if self._ending.wait(BETWEEN_TRIES):
                return False
