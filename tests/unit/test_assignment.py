"""Who takes, asks for and steals which lease: tables of what one worker sees, and what it decides."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.fleet.assignment import LEAST_THROUGHPUT, OFFER_STANDS, Plan, View, plan, weights
from consumer.fleet.liveness import Liveness
from consumer.leases import Lease, NextOwner, WorkerIdentity
from consumer.leases import lease as steps
from consumer.records import SHARD_END

DURATION = 10.0
ME, PEER, THIRD = WorkerIdentity("me", "1"), WorkerIdentity("peer", "1"), WorkerIdentity("third", "1")


def free(*names: str) -> list[Lease]:
    return [Lease(name) for name in names]


def of(worker: WorkerIdentity, *names: str, **fields: object) -> list[Lease]:
    """Leases that a worker of ours holds."""
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
    """What is decided when these rows were seen for so long; the counters of ours and of those `moving` go on."""
    watch, now = Liveness(DURATION), 0.0
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


# Taking --------------------------------------------------------------------------------------------------------------


def test_what_is_free_is_taken_up_to_a_fair_share() -> None:
    """Six leases and one live peer: three each."""
    decided = decide([*of(PEER, "a"), *free("b", "c", "d", "e", "f")])
    assert len(decided.take) == 3


def test_a_share_is_counted_in_leases_that_can_run() -> None:
    """Finished shards, and children that wait for their parents, are nobody's share."""
    ended = [Lease(f"ended-{n}", SHARD_END) for n in range(8)]
    children = [Lease(f"child-{n}", parents=("b",)) for n in range(8)]
    decided = decide([*ended, *children, *of(PEER, "a"), *free("b", "c")])
    assert len(decided.take) == 2
    assert set(names(decided.take)) == {"b", "c"}


@pytest.mark.parametrize("most_moves", [1, 2, 4])
def test_no_more_moves_than_are_enough_for_now(most_moves: int) -> None:
    """Others who start at the same time get their share at once, and not by a second move."""
    assert len(decide(free("a", "b", "c", "d", "e", "f"), most_moves=most_moves).take) == most_moves


@pytest.mark.parametrize("most_moves", [1, 2])
def test_no_more_wishes_than_are_enough_for_now(most_moves: int) -> None:
    """The same for what has to be asked for."""
    decided = decide(of(PEER, "a", "b", "c", "d", "e", "f", "g", "h"), most_moves=most_moves)
    assert len(decided.want) == most_moves


def test_takes_leave_less_room_for_wishes() -> None:
    """Both are moves; and as long as something is free, nothing is asked for."""
    rows = [*free("x"), *of(PEER, "a", "b", "c", "d", "e", "f", "g", "h")]
    decided = decide(rows, most_moves=1)
    assert names(decided.take) == ["x"]
    assert not decided.want


@pytest.mark.parametrize("most_leases", [0, 1, 2])
def test_no_more_leases_than_allowed(most_leases: int) -> None:
    """Neither taken nor asked for."""
    assert len(decide(free("a", "b", "c", "d"), most_leases=most_leases).take) == most_leases
    assert len(decide(of(PEER, "a", "b", "c", "d", "e", "f", "g"), most_leases=most_leases).want) == most_leases


def test_what_is_offered_to_us_is_accepted_above_our_share_and_moves() -> None:
    """Its owner has already stopped reading it."""
    offered = [steps.handed_on(row, PEER, NextOwner("me")) for row in of(PEER, "a", "b", "c")]
    decided = decide([*offered, *of(PEER, "d"), *of(ME, "e", "f", "g", "h")], most_moves=1)
    assert names(decided.take) == ["a", "b", "c"]


@pytest.mark.parametrize(("waited", "taken"), [(0.0, 0), (DURATION / 2 - 1, 0), (DURATION / 2 + 1, 1)])
def test_what_nobody_below_its_share_takes_is_taken_after_half_a_lease(waited: float, taken: int) -> None:
    """A peer that may have it does not want it, such as one whose `--max-leases` is reached: nobody would read it."""
    rows = [*of(ME, "a", "b"), *of(PEER, "c"), *free("unwanted")]
    decided = decide(rows, seen_for=waited, moving=["c"])
    assert len(decided.take) == taken


def test_even_what_nobody_wants_is_not_taken_above_what_is_allowed() -> None:
    """The limit is the operator's."""
    rows = [*of(ME, "a", "b"), *of(PEER, "c"), *free("unwanted")]
    assert not decide(rows, most_leases=2, seen_for=DURATION, moving=["c"]).take


def test_the_leases_of_a_dead_owner_are_free_and_it_gets_no_share() -> None:
    """All four are ours once its counters have stood still for longer than a lease."""
    rows = of(PEER, "a", "b", "c", "d")
    assert not decide(rows, seen_for=DURATION).take
    assert len(decide(rows, seen_for=DURATION + 1).take) == 4


def test_an_offer_that_is_not_accepted_is_free_after_two_seconds() -> None:
    """Who does not accept is not counted as alive either."""
    offer = steps.handed_on(of(PEER, "a")[0], PEER, NextOwner("gone"))
    assert not decide([offer], seen_for=OFFER_STANDS - 1).take
    assert names(decide([offer], seen_for=OFFER_STANDS).take) == ["a"]


def test_what_a_kcl_moves_to_us_waits_for_its_old_owner() -> None:
    """While `checkpointOwner` is set somebody else delivers."""
    moved = Lease("a", owner="me", checkpoint_owner="kcl-1", counter=3)
    assert not decide([moved]).take
    assert names(decide([replace(moved, checkpoint_owner=None)]).take) == ["a"]


# Asking --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "mine", "asked"), [(4, 0, 2), (3, 1, 1), (2, 1, 0), (2, 2, 0), (1, 0, 0), (5, 2, 1)]
)
def test_a_lease_is_asked_for_only_if_the_two_become_more_even(theirs: int, mine: int, asked: int) -> None:
    """Else it would wander for ever."""
    rows = [*of(PEER, *(f"p{n}" for n in range(theirs))), *of(ME, *(f"m{n}" for n in range(mine)))]
    assert len(decide(rows).want) == asked


def test_bytes_count() -> None:
    """Two and two are even; but of two busy ones the owner of two idle ones asks for one."""
    busy = of(PEER, "a", "b", throughput=900.0)
    idle = of(ME, "c", "d", throughput=1.0)
    assert not decide([*of(PEER, "a", "b", throughput=1.0), *idle], seen_for=40, moving=["a", "b"]).want
    assert len(decide([*busy, *idle], seen_for=40, moving=["a", "b"]).want) == 1


def test_the_heavier_one_is_not_asked_for_if_that_only_turns_the_scales() -> None:
    """One lease with all the bytes stays where it is, however often one looks."""
    rows = [*of(PEER, "a", throughput=1000.0), *of(ME, "b", throughput=0.0)]
    assert not decide(rows, seen_for=40, moving=["a"]).want


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_the_lease_that_evens_out_best_is_asked_for(order: Sequence[str]) -> None:
    """Neither the heaviest nor the lightest: the one nearest to half of what the two differ by."""
    theirs = dict(zip(order, (1000.0, 400.0, 0.0), strict=True))  # they weigh 3.5, 2 and 1; ours weighs 1.5
    rows = [row for name, value in theirs.items() for row in of(PEER, name, throughput=value)]
    assert names(decide([*rows, *of(ME, "mine", throughput=200.0)]).want) == [order[1]]


def test_each_wish_counts_with_its_weight_before_the_next() -> None:
    """Two heavy leases of six are enough where four light ones would be: they have what four have."""
    heavy = of(PEER, "h1", "h2", "h3", "h4", throughput=900.0)
    light = of(PEER, "l1", "l2", "l3", "l4", throughput=0.0)  # 1 each, and 3 each of the heavy ones: 8 are asked for
    asked = decide([*heavy, *light]).want
    weight = weights([*heavy, *light])
    assert sum(weight[row.shard_id] for row in asked) == pytest.approx(8.0, abs=1.0)


def test_bytes_alone_move_a_lease_only_when_it_has_long_been_where_it_is() -> None:
    """Estimates waver, and a lease that has just moved has none."""
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
def test_what_a_lease_weighs(throughputs: Sequence[float | None], expected: Sequence[float]) -> None:
    """One for being there, and its bytes in relation to the mean; a few bytes are no load."""
    rows = [Lease(str(number), throughput=value) for number, value in enumerate(throughputs)]
    assert list(weights(rows).values()) == pytest.approx(expected)


def test_no_rows_weigh_nothing() -> None:
    """A stream of which nothing is known yet."""
    assert weights([]) == {}


def test_what_a_peer_wishes_for_is_not_asked_for_and_counts_as_its_own() -> None:
    """Of six two are promised to a third worker: it will have two, the owner four, and we ask for what is left."""
    wished = of(PEER, "a", "b", wanted_by="third")
    decided = decide([*wished, *of(PEER, "c", "d", "e", "f")])
    assert set(names(decided.want)) <= {"c", "d", "e", "f"}
    assert len(decided.want) == 2


def test_what_a_richer_peer_still_waits_for_is_not_asked_for() -> None:
    """Its owner has promised it; of the richer peer only what it has itself can be asked for."""
    rows = [*of(THIRD, "t1", "t2"), *of(PEER, "a", "b", "c", "d", "e", wanted_by="third")]
    assert set(names(decide(rows).want)) <= {"t1", "t2"}


def test_what_we_wish_for_already_counts_as_ours() -> None:
    """Asked for once is enough."""
    decided = decide([*of(PEER, "a", "b", wanted_by="me"), *of(PEER, "c", "d")])
    assert not decided.want


def test_the_richest_is_asked_first() -> None:
    """So each move lessens the unevenness of the fleet."""
    rows = [*of(PEER, "a", "b", "c"), *of(THIRD, *(f"t{n}" for n in range(6)))]
    decided = decide(rows, most_moves=2)
    assert all(name.startswith("t") for name in names(decided.want))


def test_a_wish_without_leases_is_a_worker() -> None:
    """It has just started, and gets its share too."""
    rows = [*of(PEER, "a", wanted_by="third"), *free("b", "c", "d", "e", "f")]
    assert len(decide(rows).take) == 2


def test_a_worker_that_leaves_gets_no_share() -> None:
    """Of four leases with a peer that drains, we may have all."""
    rows = [*of(PEER, "a", draining=True), *free("b", "c", "d")]
    assert len(decide(rows).take) == 3


# Stealing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "mine", "may_steal", "stolen"),
    [(4, 0, True, 1), (4, 0, False, 0), (3, 1, True, 1), (2, 1, True, 0), (2, 0, True, 1), (1, 0, True, 0)],
)
def test_one_lease_is_stolen_from_a_kcl_that_has_two_more(theirs: int, mine: int, may_steal: bool, stolen: int) -> None:
    """It hears no wishes, and takes itself in the same way."""
    rows = [*of_kcl("kcl-1", *(f"k{n}" for n in range(theirs))), *of(ME, *(f"m{n}" for n in range(mine)))]
    decided = decide(rows, may_steal=may_steal)
    assert len(decided.steal) == stolen
    assert not decided.want


def test_nothing_is_stolen_from_a_peer_nor_while_a_kcl_moves_it() -> None:
    """A peer hears wishes; a lease that its leader moves goes where it says."""
    assert not decide(of(PEER, "a", "b", "c", "d"), may_steal=True).steal
    moving = [replace(row, checkpoint_owner="kcl-2") for row in of_kcl("kcl-1", "a", "b", "c", "d")]
    assert not decide(moving, may_steal=True).steal
