"""Keep the service's time."""

from datetime import UTC, datetime, timedelta

from consumer.records import StreamSummary
from consumer.runtime.server_clock import ServerClock
from tests.unit.clocks import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_services_time_continues_on_our_own_clock() -> None:
    """The wall clock of this host is not used, so it may be wrong or jump."""
    clock = FakeClock()
    server_clock = ServerClock(lambda: StreamSummary("calls", True, NOON - timedelta(days=9), NOON), clock)
    clock.advance(100.0)
    server_clock.start()
    assert server_clock() == NOON
    assert server_clock.summary.name == "calls"
    clock.advance(7.5)
    assert server_clock() == NOON + timedelta(seconds=7.5)
