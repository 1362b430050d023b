"""Choose how often a worker scans the lease table."""

from collections.abc import Sequence

import pytest

from consumer.fleet.lease_timings import LeaseTimings
from consumer.fleet.scan_interval import SMALL_FLEET, SMALL_TABLE, scan_interval
from consumer.leases import Lease
from consumer.records import SHARD_END

TIMINGS = LeaseTimings(12.0)


def rows(number: int) -> Sequence[Lease]:
    return [Lease(str(shard)) for shard in range(number)]


@pytest.mark.parametrize(
    ("number", "workers", "seconds"),
    [
        (0, 1, 1.0),
        (SMALL_TABLE, SMALL_FLEET, 1.0),
        (2 * SMALL_TABLE, 1, 2.0),
        (100 * SMALL_TABLE, 1, 4.0),  # a third of the lease
        (4, 3 * SMALL_FLEET, 3.0),
        (4, 100 * SMALL_FLEET, 12.0),  # one lease
        (2 * SMALL_TABLE, 3 * SMALL_FLEET, 3.0),
    ],
)
def test_a_larger_table_or_fleet_is_scanned_less_often(number: int, workers: int, seconds: float) -> None:
    """The cost of scans stays a fraction of the cost of renewals."""
    assert scan_interval(TIMINGS, rows(number), workers) == pytest.approx(seconds)


def test_a_draining_worker_makes_every_peer_scan_often() -> None:
    """Its offers follow soon. The row of an ended shard gets no offer."""
    many = rows(100 * SMALL_TABLE)
    assert scan_interval(TIMINGS, [*many, Lease("draining", draining=True)], 1) == 1.0
    assert scan_interval(TIMINGS, [*many, Lease("ended", SHARD_END, draining=True)], 1) == pytest.approx(4.0)
