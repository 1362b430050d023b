"""Why the run ends, and since when it does."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import Signals as SignalNumber

import structlog

from consumer.errors import ConfigurationError, ConsumerError, OutputClosed, where
from consumer.runtime.clock import Clock, boottime


@dataclass
class StopRequest:
    """The first cause counts, but an error is never forgotten. `wake` calls the main thread."""

    wake: Callable[[], None] = lambda: None
    clock: Clock = boottime
    error: BaseException | None = None
    by_signal: int | None = None
    at: float | None = None
    _happened: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reason(self) -> str:
        """Why, in a word or two."""
        if self.by_signal is not None:
            return SignalNumber(self.by_signal).name
        if isinstance(self.error, OutputClosed):
            return "output closed"
        return "failure" if self.error else "caught up"

    @property
    def failure(self) -> str:
        """The error in words that the log may hold; "" without an error."""
        return ": ".join(_described(self.error).values()) if self.error is not None else ""

    @property
    def failed(self) -> bool:
        """Was it anything but an operator's wish or mistake, or a reader that has gone?"""
        return self.error is not None and not isinstance(self.error, ConfigurationError | OutputClosed)

    def because(self, error: BaseException | None = None, by_signal: int | None = None) -> None:
        """End the run. Not for signal handlers: it takes a lock."""
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
        """Wait for it; True once the run has to end."""
        return self._happened.wait(seconds)


def _described(error: BaseException | None) -> dict[str, str]:
    """What the log may say: the text of an error that is not ours may carry a value of an event."""
    if isinstance(error, ConsumerError):
        return {"error": str(error)}
    return {"error": type(error).__name__, "where": where(error) if error is not None else ""}
