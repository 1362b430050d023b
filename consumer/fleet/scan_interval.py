"""Decide how often a worker scans the lease table. Pure.

A larger table, or one that more workers scan, is scanned less often, and urgent rows are read one by one in between.
With ten workers the scans cost about a third of the renewals, for any number of shards, because a write costs five
reads (https://aws.amazon.com/dynamodb/pricing/on-demand/).
"""

from collections.abc import Sequence

from consumer.fleet.lease_timings import LeaseTimings
from consumer.leases import Lease

# Up to this many rows and workers, every step of the balancer scans.
SMALL_TABLE = 500
SMALL_FLEET = 10


def scan_interval(timings: LeaseTimings, rows: Sequence[Lease], workers: int) -> float:
    """Return the seconds between scans for a table with these rows and a fleet of so many live workers."""
    shortest = timings.balance_interval
    if any(row.draining and not row.ended for row in rows):  # offers will follow soon
        return shortest
    by_rows = min(shortest * len(rows) / SMALL_TABLE, timings.most_scan_interval_for_rows)
    by_workers = min(shortest * workers / SMALL_FLEET, timings.most_scan_interval_for_workers)
    return max(shortest, by_rows, by_workers)
