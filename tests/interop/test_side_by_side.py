"""Run this program and Amazon's KCL on one lease table at the same time, as during a migration."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

from tests.interop.conftest import EventLocation, Scene, end, wait_until
from tests.interop.kcl import VERSION, KclWorker

# Exceptions that KCL workers log without us when workers join, freeze and die and a shard is split: `make interop
# LONG=1`, 24 November 2026, 3.5.1 and 2.7.2.
AMONG_ITS_OWN: Collection[str] = ("InterruptedException", "ShutdownException", "TimeoutException")
MOST_MOVES = 6  # of one lease: at most one for each join and death below, and one for balance


@contextmanager
def watched(scene: Scene) -> Iterator[Counter[str]]:
    """Count how often each lease changes its owner."""
    moves: Counter[str] = Counter()
    owners: dict[str, str] = {}
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(0.3):
            for shard, lease in scene.leases().items():
                if lease.owner is not None:
                    moves[shard] += owners.get(shard, lease.owner) != lease.owner
                    owners[shard] = lease.owner

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield moves
    stopped.set()
    thread.join()


def held_by(scene: Scene, *names: str) -> Callable[[], bool]:
    """Return whether these workers hold every lease that can be read."""
    return lambda: {lease.owner for lease in scene.leases().values() if not lease.ended} <= set(names)


def holds_one(scene: Scene, name: str) -> Callable[[], bool]:
    return lambda: any(lease.owner == name and not lease.ended for lease in scene.leases().values())


def read_by(workers: Collection[KclWorker]) -> set[EventLocation]:
    return {(row.shard, row.sequence, row.sub_sequence) for worker in workers for row in worker.rows()}


def strange(workers: Collection[KclWorker]) -> set[str]:
    """Return exceptions that these KCL workers would not have logged without us."""
    return {name for worker in workers for name in worker.exceptions()} - set(AMONG_ITS_OWN)


def test_a_mixed_fleet_loses_nothing_and_settles(scene: Scene) -> None:
    """With joins, deaths and a split, all records are read, leases settle, and KCL logs no new exceptions."""
    scene.catch_up("ours-0")  # creates the rows: on an empty table a KCL waits for up to half a minute
    first = scene.kcl("kcl-1")
    with watched(scene) as moves:
        wait_until(held_by(scene, "kcl-1"), "KCL takes all")
        scene.publisher.start()
        ours = scene.ours("ours-1")
        wait_until(holds_one(scene, "ours-1"), "ours takes its share")
        assert scene.resharder.split()
        time.sleep(5)
        end(ours, signal.SIGKILL)
        wait_until(held_by(scene, "kcl-1"), "KCL takes over from ours")
        again = scene.ours("ours-2")
        wait_until(holds_one(scene, "ours-2"), "ours takes its share again")
        first.end(signal.SIGKILL)
        wait_until(held_by(scene, "ours-2"), "ours takes over from KCL", 30)
        scene.publisher.stop()
        wait_until(lambda: scene.published() <= read_by([first]) | set(scene.rows()), "all is read")
        end(again, signal.SIGTERM)
    twice = len(scene.rows()) + len(read_by([first])) - len(scene.published())
    print(f"KCL {VERSION}: owner changes {dict(moves)}, read by both {twice} of {len(scene.published())}")
    assert max(moves.values()) <= MOST_MOVES
    assert len(scene.rows()) == len(set(scene.rows()))
    assert strange([first]) == set()


@pytest.mark.skipif(not os.environ.get("LONG"), reason="a measurement: make interop LONG=1")
def test_a_fleet_of_kcl_workers_logs_only_known_exceptions(scene: Scene) -> None:
    """It has the same joins, deaths and split, and a freeze. AMONG_ITS_OWN is the result."""
    scene.catch_up("ours-0")
    workers = [scene.kcl("kcl-1"), scene.kcl("kcl-2")]
    wait_until(held_by(scene, "kcl-1", "kcl-2"), "KCL takes all")
    scene.publisher.start()
    time.sleep(10)
    assert scene.resharder.split()
    time.sleep(5)
    for worker in workers:
        os.kill(worker.process.pid, signal.SIGSTOP)
        time.sleep(25)  # long enough for another worker to become the leader and to notice the death
        os.kill(worker.process.pid, signal.SIGCONT)
        time.sleep(5)
    workers[1].end(signal.SIGKILL)
    scene.publisher.stop()
    wait_until(lambda: scene.published() <= read_by(workers), "all is read")
    workers[0].end(signal.SIGTERM)
    found = Counter(name for worker in workers for name in worker.exceptions())
    print(f"KCL {VERSION} among its own: {dict(found)}")
    assert strange(workers) == set()
