"""Measure how long a shard is unread after a worker dies or hands off: `python -m benchmarks.failover`.

Run three workers over kinesis-local and DynamoDB Local, with an event per shard every 0.2 seconds. Rows go to pipes and
are timed there. `--kcl N` repeats it with N kills of Amazon's KCL on the same machine; each kill takes minutes.

- failover: from SIGKILL of a worker to the first row of each of its shards from another worker.
- handoff: the time without a row of a shard that moves, while each worker in turn is replaced (a new one starts, then
  the old one gets SIGTERM), and the number of duplicate rows.
"""

import argparse
import itertools
import os
import random
import signal
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.fleets import SHARDS, Fleet, Row, kcls, ours, publishing
from benchmarks.servers import server

KCL_VERSION = os.environ.get("KCL") or "3.5.1"
WORKERS = 3
PATIENCE = 400.0  # seconds for a fleet to read all shards
JOINING = 30.0  # seconds for a new worker to read one


def wait_for(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up:
            raise TimeoutError("the fleet does not come to rest")
        time.sleep(0.05)


def failover(fleet: Fleet, rng: random.Random, readers: int, times: int) -> list[float]:
    """Kill a worker this many times. Return the seconds until the next row of each of its shards."""
    found = []
    for _ in range(times):
        wait_for(fleet.spread(readers))
        time.sleep(rng.uniform(1, 5))
        reading = fleet.readers()
        victim = rng.choice(sorted(set(reading.values())))
        killed = fleet.end(victim, signal.SIGKILL)
        for shard in (shard for shard, reader in reading.items() if reader == victim):
            again = partial(_next_row, fleet, shard, victim, killed)
            wait_for(again)
            found.append(again() - killed)
        fleet.add()
    return found


def _next_row(fleet: Fleet, shard: str, not_from: str, since: float) -> float:
    """Return the time of the next row of a shard, or 0 if there is none yet."""
    rows = (row.at for row in fleet.since(since) if row.shard == shard and row.worker != not_from)
    return next(rows, 0.0)


def rolling_deploys(fleet: Fleet, readers: int, times: int) -> tuple[list[float], int]:
    """Replace every worker this many times. Return the gap of each move of a shard, and the number of duplicates."""
    wait_for(fleet.spread(readers))
    began = time.monotonic()
    for _ in range(times):
        for old in [name for name, process in fleet.workers.items() if process.poll() is None]:
            new = fleet.add()
            with suppress(TimeoutError):  # a KCL assigns a new worker nothing for minutes: continue
                wait_for(lambda: new in fleet.readers().values(), JOINING)  # noqa: B023
            fleet.end(old, signal.SIGTERM)
            fleet.workers[old].wait(60)
            wait_for(lambda: len(fleet.readers()) == SHARDS)
    time.sleep(2)
    rows = fleet.since(began)
    return list(gaps(rows)), len(rows) - len({row.event_id for row in rows})


def gaps(rows: Sequence[Row]) -> Iterator[float]:
    """Yield the seconds without a row for each change of a shard's reader."""
    shards = defaultdict(list)
    for row in rows:
        shards[row.shard].append(row)
    for held in shards.values():
        for before, now in itertools.pairwise(held):
            if before.worker != now.worker:
                yield now.at - before.at


def line(what: str, seconds: Sequence[float], note: str) -> str:
    median, worst = statistics.median(seconds), max(seconds)
    return f"{what:44} median {median:5.1f} s   worst {worst:5.1f} s   of {len(seconds):3} {note}"


def measure(make: Callable[..., Fleet], name: str, lease: float, readers: int, kills: int, deploys: int) -> None:
    """Print the lines of one kind. Start when `readers` workers read, because a KCL balances slowly."""
    directory = Path(tempfile.mkdtemp(prefix="failover-"))
    with server("kinesis-local") as kinesis, server("dynamodb-local") as dynamodb, publishing(kinesis):
        fleet = make(kinesis, dynamodb, lease, directory)
        try:
            for _ in range(WORKERS):
                fleet.add()
                wait_for(fleet.spread(1))  # one by one: some KCL workers exit if they create the table together
            if deploys:
                moves, twice = rolling_deploys(fleet, readers, deploys)
                print(line(f"{name}, lease {lease:.0f} s: hand-over", moves, f"moves; {twice} rows twice"), flush=True)
            if kills:
                killed = failover(fleet, random.Random(), readers, kills)
                print(line(f"{name}, lease {lease:.0f} s: failover", killed, "shards"), flush=True)
        finally:
            fleet.close()


def main() -> None:
    """Parse arguments and print the measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__)
    parser.add_argument("--leases", type=float, nargs="*", default=[10.0, 3.0], help="seconds")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--deploys", type=int, default=3)
    parser.add_argument(
        "--kcl", type=int, default=0, help="kills of the KCL, after one deploy if any (environment: KCL=3.5.1)"
    )
    arguments = parser.parse_args()
    for lease in arguments.leases:
        if arguments.kills or arguments.deploys:
            measure(ours, "ours", lease, WORKERS, arguments.kills, arguments.deploys)
        if arguments.kcl:
            measure(kcls, f"KCL {KCL_VERSION}", lease, 1, arguments.kcl, min(1, arguments.deploys))


if __name__ == "__main__":
    main()
