"""Check which waits the faults of a storm explain."""

from dataclasses import replace

import pytest

from consumer.leases import Lease
from consumer.records import SHARD_END
from tests.chaos.gaps import History
from tests.chaos.sinks import Seen

SHARD = "shardId-000000000001"
CHILD = "shardId-000000000002"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> "list[float]":
    """Return the time after some seconds."""
    now = [1000.0]
    monkeypatch.setattr("tests.chaos.gaps.time.time", lambda: now[0])
    return now


def row(arrived_at: float, seen_at: float, shard: str = SHARD) -> Seen:
    return Seen(1, shard, 1, 0, arrived_at, seen_at)


def net(history: History, *rows: Seen) -> float:
    [gap] = history.gaps(rows, {CHILD: [SHARD]})
    return gap.net


def test_a_frozen_owner_explains_the_wait_for_its_own_shards(at: list[float]) -> None:
    """This holds while it is frozen."""
    history = History()
    history.saw(Lease(SHARD, owner="w1"))
    history.suffered("freeze", ["w1"], lasts=4.0)
    assert net(history, row(1000.0, 1010.0)) == pytest.approx(6.0, abs=0.2)


def test_a_fault_of_other_workers_explains_nothing_unless_all_have_it(at: list[float]) -> None:
    """An outage for all also affects any worker that would take the shard."""
    history = History()
    history.saw(Lease(SHARD, owner="w1"))
    history.suffered("freeze", ["w2"], lasts=4.0)
    assert net(history, row(1000.0, 1010.0)) == pytest.approx(10.0)
    history.suffered("table refuse", ["w1", "w2"], everyone=True, lasts=5.0)
    assert net(history, row(1000.0, 1010.0)) == pytest.approx(5.0, abs=0.2)


def test_a_parent_that_cannot_end_explains_the_wait_for_its_children(at: list[float]) -> None:
    """After the parent has ended, nothing explains it."""
    history = History()
    parent = Lease(SHARD, owner="w1")
    history.saw(parent)
    history.suffered("freeze", ["w1"], lasts=8.0)
    at[0] = 1003.0
    history.saw(replace(parent, checkpoint=SHARD_END))
    history.saw(Lease(CHILD, owner="w2"))
    assert net(history, row(1000.0, 1010.0, CHILD)) == pytest.approx(7.0, abs=0.2)


def test_the_least_explained_of_the_long_waits_is_reported(at: list[float]) -> None:
    """A long outage must not hide a shorter wait that the worker caused."""
    history = History()
    history.saw(Lease(SHARD, owner="w1"))
    history.suffered("stream hang", ["w1"], lasts=20.0)
    waits = row(1000.0, 1021.0), row(1030.0, 1036.0)
    assert net(history, *waits) == pytest.approx(6.0)
    longest = history.longest(waits, {})
    assert longest is not None
    assert longest.seconds == pytest.approx(21.0)
