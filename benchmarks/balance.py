"""Measure how fast a fleet balances its leases, and the cost in DynamoDB: `python -m benchmarks.balance`.

Run the real `plan`, `Liveness` and lease steps over a lease table in memory. Workers scan once per round, in random
order. Shards are not read, and an owner hands off each requested lease within the round. Each fleet size has three
scenarios: all workers start on a new table, one worker joins, one worker dies.
"""

import argparse
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.fleet.assignment import View, plan
from consumer.fleet.balancer import FIRST_MOVES
from consumer.fleet.lease_timings import LeaseTimings
from consumer.fleet.liveness import Liveness
from consumer.fleet.scan_interval import scan_interval
from consumer.leases import Change, Lease, WorkerIdentity
from consumer.leases.lease import handed_off, renewed, taken
from consumer.leases.memory import MemoryLeaseTable

LEASE = 10.0
ROUND = 1.0
MOST_ROUNDS = 120
SIZES = ["1x1", "1x100", "2x4", "3x12", "3x300", "10x100", "10x1000", "50x500", "100x5000", "200x1000"]
LARGEST = ["500x500", "500x1000", "500x5000"]
# Bytes of a lease item (measured by benchmarks.lease_costs). A write of up to 1 KB is one unit.
ITEM = 700


@dataclass
class SimWorker:
    """The state of one worker: its observations and the number of its rounds."""

    me: WorkerIdentity
    watch: Liveness
    steps: int = 0


class Fleet:
    """Workers that share a lease table."""

    def __init__(self, workers: int, shards: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.table = MemoryLeaseTable()
        for number in range(shards):
            throughput = self.rng.choice([0.0, 20.0, 200.0, 900.0])
            self.table.create(Lease(f"shard-{number:05}", throughput=throughput))
        self.workers = [self._worker(number) for number in range(workers)]
        self.now = 0.0
        self.moves = 0

    def _worker(self, number: int) -> SimWorker:
        return SimWorker(WorkerIdentity(f"w{number:03}", "start"), Liveness(LeaseTimings(LEASE)))

    def join(self) -> None:
        self.workers.append(self._worker(len(self.workers)))

    def die(self) -> None:
        self.workers.pop()

    def after(self, event: Callable[[], None]) -> str:
        """Cause an event. Return the scans and moves until the fleet is balanced again."""
        self.moves = 0
        event()
        return f"{self.settle()}, {self.moves}"

    def settle(self) -> int:
        """Return the rounds until the last move. Stop when nothing has moved for 1.5 leases."""
        last = 0
        for number in range(1, MOST_ROUNDS):
            before = self.moves
            self._round(number)
            if self.moves != before:
                last = number
            if number - last > 1.5 * LEASE / ROUND:
                return last
        return MOST_ROUNDS

    def _round(self, number: int) -> None:
        self.now += ROUND
        for worker in self.rng.sample(self.workers, len(self.workers)):
            rows = self.table.scan()
            worker.watch.observe(rows, self.now)
            name = worker.me.worker_id
            running = {row.shard_id for row in rows if row.owner == name and row.held_by(worker.me)}
            moves = FIRST_MOVES * 2 ** min(worker.steps, 16)
            decided = plan(rows, worker.watch, View(worker.me, running, self.now, 1_000_000, moves))
            worker.steps += 1
            self._write(Change(row, taken(row, worker.me)) for row in decided.take)
            for row in decided.want:
                self.table.want(row, worker.me.worker_id)
            granted = [row for row in rows if row.shard_id in running and row.next_owner]
            self._write(Change(row, handed_off(row, worker.me, row.next_owner)) for row in granted)
            if number % round(LEASE / 3) == 0:
                mine = [row for row in self.table.scan() if row.owner == name and row.held_by(worker.me)]
                self.table.write([Change(row, renewed(row, worker.me, None, row.throughput)) for row in mine])

    def _write(self, changes: Iterable[Change]) -> None:
        for change in changes:
            [written] = self.table.write([change])
            self.moves += written.done and change.before.owner != change.after.owner

    def spread(self) -> tuple[int, int]:
        """Return the fewest and the most leases of a worker."""
        counts = Counter({worker.me.worker_id: 0 for worker in self.workers})
        counts.update(str(row.owner) for row in self.table.scan() if row.owner in counts)
        return min(counts.values()), max(counts.values())


def interval(workers: int, rows: Sequence[Lease]) -> float:
    """Return the seconds between a worker's scans at the default lease duration."""
    return scan_interval(LeaseTimings(LEASE), rows, workers)


def hourly(workers: int, rows: Sequence[Lease]) -> tuple[int, int]:
    """Return the DynamoDB read and write units per hour of a balanced fleet."""
    scan = math.ceil(len(rows) * ITEM / 4096) * 0.5  # eventually consistent: half a unit per 4 KB
    return round(workers * 3600 / interval(workers, rows) * scan), round(len(rows) * 3600 / (LEASE / 3))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.balance", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "sizes",
        nargs="*",
        metavar="WORKERSxSHARDS",
        default=SIZES,
        help=f"[default: up to 200x1000; {LARGEST} take long]",
    )
    arguments = parser.parse_args()
    print(
        "| workers | shards | scan every, s | start: scans, moves | join: scans, moves | death: scans, moves ", end=""
    )
    print("| leases each | reads/h | writes/h |\n|---|---|---|---|---|---|---|---|---|")
    for workers, shards in (map(int, size.split("x")) for size in arguments.sizes):
        fleet = Fleet(workers, shards, arguments.seed)
        scenarios = [fleet.after(event) for event in (lambda: None, fleet.join, fleet.die)]
        rows = fleet.table.scan()
        reads, writes = hourly(workers, rows)
        least, most = fleet.spread()
        print(f"| {workers} | {shards} | {interval(workers, rows):.1f} | {' | '.join(scenarios)} ", end="")
        print(f"| {least}-{most} | {reads:,} | {writes:,} |", flush=True)


if __name__ == "__main__":
    main()
