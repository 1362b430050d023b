"""Check, before the first lease is taken, that every dependency works.

A dependency may start a little later than the worker, so a failed check is retried for `PATIENCE` seconds. After the
start, failed calls are retried without a limit.
"""

from collections.abc import Callable, Mapping

from consumer.errors import ConfigurationError, Retryable
from consumer.runtime.clock import Clock
from consumer.stop_request import StopRequest
from consumer.structured_log import structlog

PATIENCE = 10.0  # seconds
RETRY_INTERVAL = 0.5  # seconds
LOGGED_AFTER = 2.0  # seconds of one wait, after which a line says what the start waits for


class Checks:
    """Checks that run one after the other, by the name of what they check."""

    def __init__(self, checks: Mapping[str, Callable[[], object]], clock: Clock, stop: StopRequest) -> None:
        self._checks, self._clock, self._stop = checks, clock, stop
        self._running: tuple[str, float] | None = None  # the name of the running check, and its start
        self._error: Retryable | None = None

    def passed(self) -> bool:
        """Run all checks; return False if the run has to stop before they have passed.

        Raises:
            ConfigurationError: a check cannot succeed, or has failed for `PATIENCE` seconds.
        """
        for what, check in self._checks.items():
            self._error, self._running = None, (what, self._clock())
            if not self._succeeds(check):
                return False
        self._running = None
        return True

    def log_wait(self) -> None:
        """Log once what a long check waits for. Called from another thread, because a check may hang."""
        running = self._running
        if running is not None and self._clock() - running[1] > LOGGED_AFTER:
            self._running = None
            why = {} if self._error is None else {"error": str(self._error)}
            structlog.get_logger().info("start.waiting", on=running[0], **why)

    def _succeeds(self, check: Callable[[], object]) -> bool:
        """Run a check until it succeeds; return False if the run has to stop."""
        give_up = self._clock() + PATIENCE
        while True:
            began = self._clock()
            try:
                check()
                return not self._stop.wait(0.0)
            except Retryable as error:
                self._error, now = error, self._clock()
                if now + max(RETRY_INTERVAL, now - began) >= give_up:
                    raise ConfigurationError(f"{error} (tried for {PATIENCE:.0f} s)") from error
            if self._stop.wait(RETRY_INTERVAL):
                return False
