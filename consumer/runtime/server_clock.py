"""Keep the service's time, so that no host's wall clock decides which records count as read or trimmed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from consumer.records import StreamSummary
from consumer.runtime.clock import Clock, boottime


class ServerClock:
    """Return the service's time: its Date header at the start, plus the time that has passed here since then.

    `summary` is what the stream answered at the start; it is empty before.
    """

    def __init__(self, ask: Callable[[], StreamSummary], clock: Clock = boottime) -> None:
        self._ask, self._clock = ask, clock
        self.summary = StreamSummary("", False, datetime.now(UTC), datetime.now(UTC))
        self._since = 0.0

    def start(self) -> None:
        """Ask the stream for its summary, which raises what `Stream.summary` raises."""
        self.summary, self._since = self._ask(), self._clock()

    def __call__(self) -> datetime:
        return self.summary.server_time + timedelta(seconds=self._clock() - self._since)
