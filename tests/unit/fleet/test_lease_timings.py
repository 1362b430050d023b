"""Check the relations between intervals on which the fleet depends."""

import pytest

from consumer.fleet.lease_timings import LeaseTimings


@pytest.mark.parametrize("duration", [1.0, 10.0, 3600.0])
def test_a_lease_survives_two_failed_renewals(duration: float) -> None:
    """This holds for the longest wait before each retry."""
    timings = LeaseTimings(duration)
    assert timings.renewal_interval + 2 * timings.most_renewal_retry < duration


@pytest.mark.parametrize("duration", [1.0, 10.0, 3600.0])
def test_an_owner_that_renews_in_time_is_never_silent(duration: float) -> None:
    """Silence is longer than the time between two renewals, and shorter than the gap that counts between scans."""
    timings = LeaseTimings(duration)
    assert timings.renewal_interval < timings.silence < timings.longest_gap


def test_a_live_duplicate_renews_while_a_worker_settles_in() -> None:
    """The worker then sees its counter change."""
    timings = LeaseTimings(12.0)
    assert timings.renewal_interval + timings.balance_interval < timings.settling == 6.0
