"""Compute what a stream of a given size needs: `python -m benchmarks.capacity`.

The inputs are measured (`make bench`, benchmarks.lease_costs, benchmarks.balance); the rest is arithmetic. Prices are
AWS's list prices in us-east-1, in dollars: look them up before you rely on them.
"""

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.balance import interval
from benchmarks.figures import as_markdown
from benchmarks.lease_costs import row, scan_units
from benchmarks.lease_costs import size as item_size
from consumer.leases.dynamodb.item import item_of

EVENT, DAY, MONTH = 1180, 86_400, 730  # bytes, seconds, hours
SHARD_WRITES, SHARD_BYTES = 1000, 1_000_000  # records and bytes per second that AWS takes per shard
PEAK = 3  # times the average rate; the fleet is sized for it
LEASE = 10.0
SHARD_HOUR, PUT_MILLION = 0.015, 0.014  # Kinesis, provisioned; a payload unit has up to 25 KB
WRITE_MILLION, READ_MILLION = 0.625, 0.125  # DynamoDB on demand
CORE_HOUR, GB_HOUR = 0.04048, 0.004445  # Fargate
MEMORY = 0.25  # GB per process


class Measured(NamedTuple):
    """CPU µs per event, cores per idle shard (polled once per second), and the share of a core that is used at peak."""

    event: float
    idle_shard: float
    filled: float = 0.7


class Fleet(NamedTuple):
    """What a stream needs. Requests are per second; money is dollars per month."""

    events: int
    shards: int
    cores: float
    processes: int
    reads: float
    writes: float
    scans: float
    kinesis: float
    dynamodb: float
    compute: float


def fleet(events: int, measured: Measured, shards: int) -> Fleet:
    """Return the fleet for so many events per day. Each busy shard writes one checkpoint per second."""
    rate = events / DAY
    needed = math.ceil(PEAK * rate * max(1 / SHARD_WRITES, EVENT / SHARD_BYTES))
    shards = max(shards, needed)
    cores = (PEAK * rate * measured.event / 1e6) + shards * measured.idle_shard
    processes = max(2, math.ceil(cores / measured.filled))
    busy = min(1.0, rate / shards)  # batches per second and shard, at most one
    writes = shards * (3 / LEASE + busy)
    rows = [row(number) for number in range(shards)]
    scans = processes / interval(processes, rows) * scan_units(shards * item_size(item_of(row(0))))
    return Fleet(
        events,
        shards,
        cores,
        processes,
        shards * 1.0,
        writes,
        scans,
        shards * SHARD_HOUR * MONTH + rate * 3600 * MONTH / 1e6 * PUT_MILLION,
        3600 * MONTH / 1e6 * (writes * WRITE_MILLION + scans * READ_MILLION),
        MONTH * (max(cores, 0.25 * processes) * CORE_HOUR + processes * MEMORY * GB_HOUR),
    )


def table(fleets: Sequence[Fleet]) -> str:
    """Return the fleets as a Markdown table."""
    return as_markdown([_row(each) for each in fleets])


def _row(one: Fleet) -> dict[str, str]:
    return {
        "events per day": f"{one.events:,}",
        "shards": f"{one.shards:,}",
        "cores at peak": f"{one.cores:.2f}",
        "processes": f"{one.processes}",
        "memory, GB": f"{one.processes * MEMORY:.1f}",
        "GetRecords/s": f"{one.reads:,.0f}",
        "lease writes/s": f"{one.writes:,.1f}",
        "scan units/s": f"{one.scans:,.1f}",
        "Kinesis, $": f"{one.kinesis:,.0f}",
        "DynamoDB, $": f"{one.dynamodb:,.0f}",
        "compute, $": f"{one.compute:,.0f}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--event", type=float, default=45.0, help="CPU µs per event")
    parser.add_argument(
        "--idle-shard", type=float, default=0.0015, help="cores per shard that is polled once per second"
    )
    given = parser.parse_args()
    measured = Measured(given.event, given.idle_shard)
    wide = ((10**6, 1), (10**6, 4), (10**8, 5), (10**8, 64), (10**10, 410), (10**10, 1000))
    print(table([fleet(events, measured, shards) for events, shards in wide]))


if __name__ == "__main__":
    main()
