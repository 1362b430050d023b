"""Why and when the run has to stop."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import Signals as SignalNumber

from consumer.errors import ConfigurationError, ConsumerError, OutputClosed, where
from consumer.runtime.clock import Clock, boottime
from consumer.structured_log import structlog


@dataclass
class StopRequest:
    """A request to stop the run. Its time is that of the first cause; an error is kept even if it comes later.

    `wake` wakes the main thread. `at` is the time by `clock`, or None while there is no request.
    """

    wake: Callable[[], None] = lambda: None
    clock: Clock = boottime
    error: BaseException | None = None
    by_signal: int | None = None
    at: float | None = None
    _happened: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reason(self) -> str:
        """Return the cause in one or two words."""
        if self.by_signal is not None:
            return SignalNumber(self.by_signal).name
        if isinstance(self.error, OutputClosed):
            return "output closed"
        return "failure" if self.error else "caught up"

    @property
    def failure(self) -> str:
        """Return the error as text for the log; "" without an error."""
        return ": ".join(_described(self.error).values()) if self.error is not None else ""

    @property
    def failed(self) -> bool:
        """Return whether the cause is an error, other than a wrong configuration or a closed output."""
        return self.error is not None and not isinstance(self.error, ConfigurationError | OutputClosed)

    def because(self, error: BaseException | None = None, by_signal: int | None = None) -> None:
        """Stop the run. Signal handlers must not call this, because it takes a lock."""
        with self._lock:
            first = self.at is None
            if first:
                self.by_signal, self.at = by_signal, self.clock()
            news = error is not None and self.error is None
            if news:
                self.error = error
            self._happened.set()
        if news and self.failed:
            structlog.get_logger().error("worker.failed", **_described(error))
        if first or news:
            self.wake()

    def wait(self, seconds: float) -> bool:
        """Wait for a request; return whether there is one."""
        return self._happened.wait(seconds)


def _described(error: BaseException | None) -> dict[str, str]:
    """Return what the log may show. The text of an error of another library may contain a value of an event."""
    if isinstance(error, ConsumerError):
        return {"error": str(error)}
    return {"error": type(error).__name__, "where": where(error) if error is not None else ""}
