"""Decide which leases a worker takes, requests and steals, from tables of what it sees."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.fleet.assignment import LEAST_THROUGHPUT, Plan, View, plan, weights
from consumer.fleet.lease_timings import LeaseTimings
from consumer.fleet.liveness import Liveness
from consumer.leases import Lease, NextOwner, WorkerIdentity
from consumer.leases import lease as steps
from consumer.records import SHARD_END

DURATION = 10.0
TIMINGS = LeaseTimings(DURATION)
ME, PEER, THIRD = WorkerIdentity("me", "1"), WorkerIdentity("peer", "1"), WorkerIdentity("third", "1")


def free(*names: str) -> list[Lease]:
    return [Lease(name) for name in names]


def of(worker: WorkerIdentity, *names: str, **fields: object) -> list[Lease]:
    """Return leases that a worker of ours holds."""
    return [replace(steps.taken(Lease(name), worker), **fields) for name in names]  # type: ignore[arg-type]


def of_kcl(owner: str, *names: str) -> list[Lease]:
    return [Lease(name, owner=owner, counter=5) for name in names]


def decide(
    rows: Sequence[Lease],
    most_leases: int = 100,
    most_moves: int = 100,
    may_steal: bool = False,
    seen_for: float = 0.0,
    moving: Sequence[str] = (),
) -> Plan:
    """Return the decision after these rows were seen for `seconds`.

    Counters of our leases and of those in `moving` increase.
    """
    watch, now = Liveness(TIMINGS), 0.0
    seen = list(rows)
    running = [row.shard_id for row in rows if row.held_by(ME)]
    alive = {*running, *moving}
    while True:
        watch.observe(seen, now)
        view = View(ME, running, now, most_leases, most_moves, may_steal)
        decided = plan(rows, watch, view)
        if now >= seen_for:
            return decided
        now += 1.0
        seen = [replace(row, counter=row.counter + int(now)) if row.shard_id in alive else row for row in rows]


def names(rows: Sequence[Lease]) -> list[str]:
    return sorted(row.shard_id for row in rows)


# Taking leases -------------------------------------------------------------------------------------------------------


def test_free_leases_are_taken_up_to_a_fair_share() -> None:
    """With six leases and one live peer, each worker gets three."""
    decided = decide([*of(PEER, "a"), *free("b", "c", "d", "e", "f")])
    assert len(decided.take) == 3


def test_a_share_counts_only_leases_that_can_be_read() -> None:
    """Finished shards, and children that wait for their parents, do not count."""
    ended = [Lease(f"ended-{n}", SHARD_END) for n in range(8)]
    children = [Lease(f"child-{n}", parents=("b",)) for n in range(8)]
    decided = decide([*ended, *children, *of(PEER, "a"), *free("b", "c")])
    assert len(decided.take) == 2
    assert set(names(decided.take)) == {"b", "c"}


@pytest.mark.parametrize("most_moves", [1, 2, 4])
def test_the_number_of_takes_per_step_is_limited(most_moves: int) -> None:
    """Workers that start at the same time get their shares without a second move."""
    assert len(decide(free("a", "b", "c", "d", "e", "f"), most_moves=most_moves).take) == most_moves


@pytest.mark.parametrize("most_moves", [1, 2])
def test_the_number_of_requests_per_step_is_limited(most_moves: int) -> None:
    """The same limit holds for requests."""
    decided = decide(of(PEER, "a", "b", "c", "d", "e", "f", "g", "h"), most_moves=most_moves)
    assert len(decided.want) == most_moves


def test_takes_reduce_the_number_of_requests() -> None:
    """Both are moves, and nothing is requested while a lease is free."""
    rows = [*free("x"), *of(PEER, "a", "b", "c", "d", "e", "f", "g", "h")]
    decided = decide(rows, most_moves=1)
    assert names(decided.take) == ["x"]
    assert not decided.want


@pytest.mark.parametrize("most_leases", [0, 1, 2])
def test_the_maximum_number_of_leases_limits_takes_and_requests(most_leases: int) -> None:
    """The limit is `--max-leases`."""
    assert len(decide(free("a", "b", "c", "d"), most_leases=most_leases).take) == most_leases
    assert len(decide(of(PEER, "a", "b", "c", "d", "e", "f", "g"), most_leases=most_leases).want) == most_leases


def test_an_offer_to_us_is_accepted_above_our_share_and_the_move_limit() -> None:
    """Its owner has already stopped reading the shard."""
    offered = [steps.handed_off(row, PEER, NextOwner("me")) for row in of(PEER, "a", "b", "c")]
    decided = decide([*offered, *of(PEER, "d"), *of(ME, "e", "f", "g", "h")], most_moves=1)
    assert names(decided.take) == ["a", "b", "c"]


@pytest.mark.parametrize(("waited", "taken"), [(0.0, 0), (DURATION / 2 - 1, 0), (DURATION / 2 + 1, 1)])
def test_a_lease_that_no_peer_takes_is_taken_after_half_a_lease(waited: float, taken: int) -> None:
    """A peer below its share may have reached its `--max-leases`, and no worker would read the shard."""
    rows = [*of(ME, "a", "b"), *of(PEER, "c"), *free("unwanted")]
    decided = decide(rows, seen_for=waited, moving=["c"])
    assert len(decided.take) == taken


def test_an_untaken_lease_is_not_taken_above_the_maximum() -> None:
    """The operator sets the limit."""
    rows = [*of(ME, "a", "b"), *of(PEER, "c"), *free("unwanted")]
    assert not decide(rows, most_leases=2, seen_for=DURATION, moving=["c"]).take


def test_the_leases_of_a_dead_owner_are_free_and_it_has_no_share() -> None:
    """A worker is dead when its counters have not moved for longer than a lease."""
    rows = of(PEER, "a", "b", "c", "d")
    assert not decide(rows, seen_for=DURATION).take
    assert len(decide(rows, seen_for=DURATION + 1).take) == 4


def test_an_offer_that_is_not_accepted_is_free_after_two_seconds() -> None:
    """A worker that does not accept does not count as alive."""
    offer = steps.handed_off(of(PEER, "a")[0], PEER, NextOwner("gone"))
    assert not decide([offer], seen_for=TIMINGS.offer_duration - 1).take
    assert names(decide([offer], seen_for=TIMINGS.offer_duration).take) == ["a"]


def test_a_lease_that_a_kcl_assigns_to_us_waits_for_its_old_owner() -> None:
    """The old owner delivers while `checkpointOwner` is set."""
    moved = Lease("a", owner="me", checkpoint_owner="kcl-1", counter=3)
    assert not decide([moved]).take
    assert names(decide([replace(moved, checkpoint_owner=None)]).take) == ["a"]


# Requesting leases ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "mine", "asked"), [(4, 0, 2), (3, 1, 1), (2, 1, 0), (2, 2, 0), (1, 0, 0), (5, 2, 1)]
)
def test_a_lease_is_requested_only_if_the_move_evens_out_the_load(theirs: int, mine: int, asked: int) -> None:
    """Otherwise it would move back and forth."""
    rows = [*of(PEER, *(f"p{n}" for n in range(theirs))), *of(ME, *(f"m{n}" for n in range(mine)))]
    assert len(decide(rows).want) == asked


def test_bytes_count_as_load() -> None:
    """With two leases each, the owner of two idle ones requests one of two busy ones."""
    busy = of(PEER, "a", "b", throughput=900.0)
    idle = of(ME, "c", "d", throughput=1.0)
    assert not decide([*of(PEER, "a", "b", throughput=1.0), *idle], seen_for=40, moving=["a", "b"]).want
    assert len(decide([*busy, *idle], seen_for=40, moving=["a", "b"]).want) == 1


def test_a_heavy_lease_is_not_requested_if_that_only_reverses_the_imbalance() -> None:
    """One lease with all the bytes stays where it is."""
    rows = [*of(PEER, "a", throughput=1000.0), *of(ME, "b", throughput=0.0)]
    assert not decide(rows, seen_for=40, moving=["a"]).want


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_the_lease_that_evens_out_best_is_requested(order: Sequence[str]) -> None:
    """Its weight is closest to half of the difference."""
    theirs = dict(zip(order, (1000.0, 400.0, 0.0), strict=True))  # their weights are 3.5, 2 and 1; ours weighs 1.5
    rows = [row for name, value in theirs.items() for row in of(PEER, name, throughput=value)]
    assert names(decide([*rows, *of(ME, "mine", throughput=200.0)]).want) == [order[1]]


def test_each_request_counts_by_its_weight_before_the_next() -> None:
    """Two heavy leases are enough where four light ones would be."""
    heavy = of(PEER, "h1", "h2", "h3", "h4", throughput=900.0)
    light = of(PEER, "l1", "l2", "l3", "l4", throughput=0.0)  # weights are 1, and 3 for the heavy ones; 8 are requested
    asked = decide([*heavy, *light]).want
    weight = weights([*heavy, *light])
    assert sum(weight[row.shard_id] for row in asked) == pytest.approx(8.0, abs=1.0)


def test_bytes_alone_move_a_lease_only_after_three_lease_durations() -> None:
    """Estimates vary, and a lease that has just moved has none."""
    rows = [*of(PEER, "a", "b", throughput=900.0), *of(ME, "c", "d", throughput=1.0)]
    assert not decide(rows, seen_for=3 * DURATION, moving=["a", "b"]).want
    assert decide(rows, seen_for=3 * DURATION + 1, moving=["a", "b"]).want


@pytest.mark.parametrize(
    ("throughputs", "expected"),
    [
        ([None, None], [1.0, 1.0]),
        ([0.0, 100.0], [1.0, 3.0]),
        ([100.0, 100.0], [2.0, 2.0]),
        ([0.0, LEAST_THROUGHPUT], [1.0, 2.0]),
        ([0.0, 1.0], [1.0, 1.0 + 1.0 / LEAST_THROUGHPUT]),
        ([300.0, None], [3.0, 1.0]),
    ],
)
def test_the_weight_of_a_lease_is_one_plus_its_relative_bytes(
    throughputs: Sequence[float | None], expected: Sequence[float]
) -> None:
    """A few bytes do not count as load."""
    rows = [Lease(str(number), throughput=value) for number, value in enumerate(throughputs)]
    assert list(weights(rows).values()) == pytest.approx(expected)


def test_no_rows_have_no_weight() -> None:
    """No shard of the stream is known yet."""
    assert weights([]) == {}


def test_a_lease_that_a_peer_requested_counts_as_the_peers() -> None:
    """Two of six are requested by a third worker, so we request from the remaining four."""
    requested = of(PEER, "a", "b", wanted_by="third")
    decided = decide([*requested, *of(PEER, "c", "d", "e", "f")])
    assert set(names(decided.want)) <= {"c", "d", "e", "f"}
    assert len(decided.want) == 2


def test_a_lease_that_a_richer_peer_waits_for_is_not_requested() -> None:
    """Only leases that the richer peer holds can be requested from it."""
    rows = [*of(THIRD, "t1", "t2"), *of(PEER, "a", "b", "c", "d", "e", wanted_by="third")]
    assert set(names(decide(rows).want)) <= {"t1", "t2"}


def test_a_lease_that_we_requested_counts_as_ours() -> None:
    """It is not requested twice."""
    decided = decide([*of(PEER, "a", "b", wanted_by="me"), *of(PEER, "c", "d")])
    assert not decided.want


def test_the_worker_with_the_most_load_is_asked_first() -> None:
    """Each move then makes the fleet more even."""
    rows = [*of(PEER, "a", "b", "c"), *of(THIRD, *(f"t{n}" for n in range(6)))]
    decided = decide(rows, most_moves=2)
    assert all(name.startswith("t") for name in names(decided.want))


def test_a_requesting_worker_without_leases_has_a_share() -> None:
    """It has just started."""
    rows = [*of(PEER, "a", wanted_by="third"), *free("b", "c", "d", "e", "f")]
    assert len(decide(rows).take) == 2


def test_a_draining_worker_has_no_share() -> None:
    """Of four leases with a draining peer, we may take all."""
    rows = [*of(PEER, "a", draining=True), *free("b", "c", "d")]
    assert len(decide(rows).take) == 3


# Stealing leases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "mine", "may_steal", "stolen"),
    [(4, 0, True, 1), (4, 0, False, 0), (3, 1, True, 1), (2, 1, True, 0), (2, 0, True, 1), (1, 0, True, 0)],
)
def test_one_lease_is_stolen_from_a_kcl_worker_that_has_two_more(
    theirs: int, mine: int, may_steal: bool, stolen: int
) -> None:
    """KCL ignores requests, and steals in the same way."""
    rows = [*of_kcl("kcl-1", *(f"k{n}" for n in range(theirs))), *of(ME, *(f"m{n}" for n in range(mine)))]
    decided = decide(rows, may_steal=may_steal)
    assert len(decided.steal) == stolen
    assert not decided.want


def test_nothing_is_stolen_from_our_peers_or_while_a_kcl_moves_a_lease() -> None:
    """Our peers respond to requests, and KCL's leader decides where its lease goes."""
    assert not decide(of(PEER, "a", "b", "c", "d"), may_steal=True).steal
    moving = [replace(row, checkpoint_owner="kcl-2") for row in of_kcl("kcl-1", "a", "b", "c", "d")]
    assert not decide(moving, may_steal=True).steal
