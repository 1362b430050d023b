"""Decide which workers are alive, by what one worker observed on its own clock."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.fleet.lease_timings import LeaseTimings
from consumer.fleet.liveness import Liveness
from consumer.leases import Lease
from consumer.records import SHARD_END

TIMINGS = LeaseTimings(10.0)
ROW = Lease("shard", owner="peer", counter=3)


def watched(looks: Sequence[tuple[float, Lease]]) -> Liveness:
    watch = Liveness(TIMINGS)
    for now, row in looks:
        watch.observe([row], now)
    return watch


def every_second(until: int, row: Lease = ROW) -> list[tuple[float, Lease]]:
    return [(float(now), row) for now in range(until + 1)]


def test_an_owner_whose_counter_does_not_change_for_longer_than_a_lease_is_dead() -> None:
    """It is alive until then."""
    watch = watched(every_second(10))
    assert not watch.expired(ROW, 10.0)
    assert watch.expired(ROW, 10.01)


@pytest.mark.parametrize(
    "moved", [replace(ROW, counter=4), replace(ROW, counter=2), replace(ROW, owner="other"), replace(ROW, owner=None)]
)
def test_a_change_of_counter_or_owner_is_a_sign_of_life(moved: Lease) -> None:
    """The silence counts from when the change was seen."""
    watch = watched([*every_second(9), (9.5, moved)])
    assert watch.still_for(moved, 9.5) == 0.0
    assert not watch.expired(moved, 19.4)


def test_other_fields_are_no_sign_of_life() -> None:
    """Another worker writes requests."""
    requested = replace(ROW, wanted_by="me", draining=True)
    watch = watched([*every_second(10, ROW), (10.5, requested)])
    assert watch.still_for(requested, 10.5) == 10.5


@pytest.mark.parametrize("away", [TIMINGS.longest_gap, 5.0, 11.0, 3600.0])
def test_time_between_scans_is_not_silence(away: float) -> None:
    """During our own pause, or an outage of the table, peers may have been unable to renew."""
    watch = watched([(0.0, ROW), (away, ROW)])
    assert watch.still_for(ROW, away) == pytest.approx(TIMINGS.longest_gap)
    assert not watch.expired(ROW, away)


def test_each_pause_is_left_out_and_time_with_scans_counts() -> None:
    """Here pauses take two hours between seconds of scans."""
    looks = [(0.0, ROW), (1.0, ROW), (3601.0, ROW), (3602.0, ROW), (7202.0, ROW)]
    assert watched(looks).still_for(ROW, 7202.0) == pytest.approx(1 + 4 + 1 + 4)


def test_refreshed_rows_count_as_scans_do() -> None:
    """A pause before them is left out, too."""
    watch = watched([(0.0, ROW)])
    watch.refresh([ROW], 100.0)
    assert watch.still_for(ROW, 100.0) == pytest.approx(TIMINGS.longest_gap)
    watch.refresh([replace(ROW, counter=4)], 101.0)
    assert watch.still_for(ROW, 101.0) == 0.0


def test_a_row_that_a_scan_lacks_is_forgotten() -> None:
    """A row that is created again starts anew. Refreshing single rows forgets nothing."""
    watch = watched(every_second(9))
    watch.refresh([Lease("other")], 9.5)
    assert watch.still_for(ROW, 9.5) == 9.5
    watch.observe([], 9.6)
    watch.observe([ROW], 9.7)
    assert not watch.expired(ROW, 19.0)
    assert watch.still_for(ROW, 9.7) == 0.0


def test_an_unknown_row_or_a_row_without_an_owner_is_not_dead() -> None:
    """No worker owns it."""
    nobodys = replace(ROW, owner=None)
    assert not Liveness(TIMINGS).expired(ROW, 100.0)
    assert not watched(every_second(20, nobodys)).expired(nobodys, 20.0)


def test_the_age_of_an_ownership_counts_from_the_change_of_owner() -> None:
    """Renewals do not change it."""
    watch = watched([(float(n), replace(ROW, counter=n)) for n in range(10)])
    assert watch.owned_for(ROW, 9.0) == 9.0
    watch.observe([replace(ROW, owner="other", counter=10)], 10.0)
    assert watch.owned_for(ROW, 12.0) == 2.0


@pytest.mark.parametrize(
    ("row", "seen", "silent"),
    [
        (ROW, TIMINGS.silence, False),
        (ROW, TIMINGS.silence + 0.1, True),
        (replace(ROW, owner=None), TIMINGS.silence + 0.1, False),
        (replace(ROW, checkpoint=SHARD_END), TIMINGS.silence + 0.1, False),
    ],
)
def test_a_row_unchanged_for_longer_than_the_renewal_interval_is_refreshed(
    row: Lease, seen: float, silent: bool
) -> None:
    """Only time with scans counts, not the time since."""
    watch = watched([(0.0, row), (seen, row)])
    assert watch.silent(row, seen) is silent
    assert watched([(0.0, row)]).silent(row, 1000.0) is False


def test_the_time_that_a_lease_is_free_counts_without_a_break() -> None:
    """A take in between starts it anew."""
    watch, free = Liveness(TIMINGS), Lease("shard")
    assert watch.free_for([free], 5.0) == {"shard": 0.0}
    assert watch.free_for([free], 9.0) == {"shard": 4.0}
    watch.free_for([], 10.0)
    assert watch.free_for([free], 12.0) == {"shard": 0.0}
