"""Parents before children: which shards get rows, which may run, which tombstones may go, and where they start."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lineage import covered, missing, runnable, tombstones, unfinished
from consumer.leases import Lease
from consumer.records import FULL_HASH_RANGE, LATEST, SHARD_END, TRIM_HORIZON, Position, Shard
from consumer.shard.listing import complete, doubtful

LAST = FULL_HASH_RANGE[1]
HALF, QUARTER = (LAST + 1) // 2, (LAST + 1) // 4
LEFT, RIGHT = (0, HALF - 1), (HALF, LAST)
FIRST_QUARTER, SECOND_QUARTER = (0, QUARTER - 1), (QUARTER, HALF - 1)
READ = Position.of(7)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shard(
    name: str, *parents: str, keys: tuple[int, int] = FULL_HASH_RANGE, at: int = 0, closed: bool = False
) -> Shard:
    return Shard(name, parents, keys, at, closed)


def row(name: str, *parents: str, keys: tuple[int, int] = FULL_HASH_RANGE, checkpoint: Position = READ) -> Lease:
    return Lease(name, checkpoint, parents, hash_range=keys)


def ended(name: str, *parents: str, keys: tuple[int, int] = FULL_HASH_RANGE) -> Lease:
    return row(name, *parents, keys=keys, checkpoint=SHARD_END)


def ids(things: Sequence[Shard] | Sequence[Lease]) -> list[str]:
    return [thing.shard_id for thing in things]


# A split of `root` into `a` and `b`, and a merge of these into `c`.
ROOT = shard("root", closed=True, at=1)
A, B = shard("a", "root", keys=LEFT, at=2, closed=True), shard("b", "root", keys=RIGHT, at=3, closed=True)
C = shard("c", "a", "b", at=4)
FAMILY = [ROOT, A, B, C]


@pytest.mark.parametrize(
    ("rows", "needed"),
    [
        ([], ["root", "a", "b", "c"]),
        (["root"], ["a", "b", "c"]),
        (["root", "a"], ["b", "c"]),
        (["c"], []),  # its descendant was read, so all before it is finished
        (["a"], ["b", "c"]),  # the split's other half was not; the parent of both was
        (["b"], ["a", "c"]),
        (["root", "a", "b", "c"], []),
        (["somebody's"], ["root", "a", "b", "c"]),
    ],
)
def test_a_listed_shard_gets_a_row_unless_a_descendant_has_one(rows: Sequence[str], needed: Sequence[str]) -> None:
    """Such a shard was finished before and its row tidied away; reading it again would repeat all of it."""
    assert ids(missing(FAMILY, rows)) == needed


def test_a_grandchild_shows_that_all_before_it_is_finished() -> None:
    """However many generations lie between."""
    chain = [shard("g0", at=1), *(shard(f"g{n}", f"g{n - 1}", at=n + 1) for n in range(1, 5))]
    assert missing(chain, ["g4"]) == []
    assert ids(missing(chain, ["g3"])) == ["g4"]


def test_parents_get_their_rows_first_whatever_the_order_of_a_listing() -> None:
    """A crash between two rows leaves no child without its parents."""
    assert ids(missing(FAMILY[::-1], [])) == ["root", "a", "b", "c"]


@pytest.mark.parametrize("without", ["a", "b"])
def test_a_parent_that_is_not_listed_is_not_waited_for(without: str) -> None:
    """The stream has forgotten it."""
    listed = [shard for shard in FAMILY if shard.shard_id not in (without, "root")]
    assert "c" in ids(missing(listed, []))


def test_a_merge_child_gets_no_row_before_each_listed_parent_has_one() -> None:
    """A listing in which a parent sorts behind its child: the child waits for the next one, or would overtake it."""
    late = replace(B, starting_sequence=9)
    assert ids(missing([A, late, C], ["a"])) == ["b"]
    assert ids(missing([A, late, C], ["a", "b"])) == ["c"]
    assert ids(missing([A, late, C], ["b"])) == ["a", "c"]
    late = replace(A, starting_sequence=9)
    assert ids(missing([late, B, C], [])) == ["b", "a"]


@pytest.mark.parametrize(
    ("rows", "may_run"),
    [
        ([row("a"), row("b"), row("c", "a", "b")], ["a", "b"]),
        ([ended("a"), row("b"), row("c", "a", "b")], ["b"]),
        ([row("a"), ended("b"), row("c", "a", "b")], ["a"]),
        ([ended("a"), ended("b"), row("c", "a", "b")], ["c"]),
        ([ended("b"), row("c", "a", "b")], ["c"]),  # the other parent's row was tidied away long ago
        ([row("c", "a", "b")], ["c"]),
        ([row("a"), row("c", "b", "a")], ["a"]),
        ([ended("a")], []),
    ],
)
def test_a_shard_runs_when_each_of_its_parents_has_ended(rows: Sequence[Lease], may_run: Sequence[str]) -> None:
    """A merge's child waits for both; what has ended does not run."""
    assert ids(runnable(rows)) == may_run


@pytest.mark.parametrize(
    ("children", "goes"),
    [
        ([row("child", "parent", checkpoint=TRIM_HORIZON)], False),
        ([row("child", "parent", checkpoint=LATEST)], False),
        ([row("child", "parent", checkpoint=Position.at_timestamp(NOON))], False),
        ([row("child", "parent"), row("child too", "parent", checkpoint=TRIM_HORIZON)], False),
        ([row("child", "other", "parent", checkpoint=TRIM_HORIZON)], False),  # a merge's child, by its second parent
        ([row("child", "parent")], True),
        ([ended("child", "parent")], True),
        ([row("child", "parent"), ended("child too", "parent")], True),
        ([row("stranger", checkpoint=TRIM_HORIZON)], True),
        ([], True),
    ],
)
def test_a_tombstone_stays_until_all_its_children_have_moved_on(children: Sequence[Lease], goes: bool) -> None:
    """A child without a checkpoint of its own is held back by its parent's row alone."""
    assert bool(tombstones([ended("parent"), *children], listed=())) is goes


def test_a_tombstone_stays_while_its_shard_is_listed_and_an_unfinished_row_always() -> None:
    """No listing, however old, brings a finished shard back; and what is not read is never forgotten."""
    assert tombstones([ended("parent")], listed={"parent"}) == []
    assert tombstones([row("parent")], listed=()) == []
    assert ids(tombstones([ended("parent"), ended("other")], listed={"other"})) == ["parent"]


COVERS = [
    ([row("a", keys=LEFT), row("b", keys=RIGHT)], True),
    ([row("a")], True),
    ([ended("root"), row("a", keys=LEFT), row("b", keys=RIGHT)], True),  # covered by its descendants
    ([row("a", keys=LEFT), row("b", keys=RIGHT), row("d", keys=FIRST_QUARTER)], True),  # a parent and its child
    ([ended("a", keys=LEFT), row("b", keys=RIGHT), row("d", keys=FIRST_QUARTER), row("e", keys=SECOND_QUARTER)], True),
    ([row("a", keys=LEFT), row("b", keys=RIGHT), row("f", keys=(QUARTER, QUARTER + 9))], True),  # amid its parent
    ([ended("a", keys=LEFT), row("b", keys=RIGHT), row("e", keys=SECOND_QUARTER)], False),  # a hole at the beginning
    ([ended("a", keys=LEFT), row("b", keys=RIGHT), row("d", keys=FIRST_QUARTER)], False),  # a hole in the middle
    ([row("a", keys=LEFT)], False),  # a hole at the end
    ([row("a", keys=LEFT), row("b", keys=(HALF, LAST - 1))], False),  # by one key
    ([row("a", keys=(0, HALF - 2)), row("b", keys=RIGHT)], False),  # by one key
    ([row("a", keys=(1, LAST))], False),  # by one key
    ([row("a"), row("b")], False),  # rows of a KCL 1.x, which do not say their ranges
    ([ended("a"), ended("b")], False),
    ([], False),
]


@pytest.mark.parametrize(("rows", "whole"), COVERS)
def test_a_hole_in_what_the_unfinished_rows_cover_shows(rows: Sequence[Lease], whole: bool) -> None:
    """Some shard has no row then, and the stream has to be asked. The order of rows says nothing."""
    assert covered(rows) is whole
    assert covered(rows[::-1]) is whole


@pytest.mark.parametrize(
    ("shards", "whole"),
    [
        (FAMILY, True),
        ([ROOT, A, B], True),
        ([ROOT, A], False),
        ([A, B, C], True),
        ([A, B], True),
        ([A], False),
        ([shard("a", keys=LEFT), shard("b", keys=(HALF + 1, LAST))], False),
        ([shard("a", keys=LEFT), shard("b", keys=RIGHT), shard("d", "a", keys=FIRST_QUARTER)], False),
        ([], False),
    ],
)
def test_a_listing_can_be_whole_only_if_its_youngest_shards_cover_all_keys(
    shards: Sequence[Shard], whole: bool
) -> None:
    """Nothing is concluded from one that cannot."""
    assert complete(shards) is whole


@pytest.mark.parametrize(
    ("shards", "doubt"),
    [
        (FAMILY, False),
        ([ROOT], True),  # closed, and its children are not there yet
        ([shard("root")], False),
        ([A, B, C], True),  # a parent is not there: forgotten, or left out
        ([ROOT, A, B], True),
    ],
)
def test_a_listing_that_lacks_relatives_is_doubted(shards: Sequence[Shard], doubt: bool) -> None:
    """It is asked for again, and has to say the same."""
    assert doubtful(shards) is doubt


def test_unfinished_are_the_rows_that_have_not_ended() -> None:
    """By their shards."""
    assert unfinished([ended("a"), row("b"), row("c")]) == {"b", "c"}


# Where a new row starts ----------------------------------------------------------------------------------------------

LATER = NOON + timedelta(hours=1)
MADE = NOON - timedelta(days=1)


def started(name: str, at: datetime | None, checkpoint: Position = TRIM_HORIZON) -> Lease:
    return Lease(name, checkpoint, started_at=at)


@pytest.mark.parametrize(
    ("mine", "rows", "position", "at"),
    [
        (InitialPosition(LATEST, LATER, MADE), [], LATEST, LATER),
        (InitialPosition(TRIM_HORIZON, LATER, MADE), [], TRIM_HORIZON, LATER),
        (InitialPosition(LATEST, LATER, MADE), [started("a", NOON, LATEST)], LATEST, NOON),
        (InitialPosition(TRIM_HORIZON, LATER, MADE), [started("a", NOON, LATEST)], LATEST, NOON),
        (InitialPosition(LATEST, LATER, MADE), [started("a", NOON), started("b", LATER)], LATEST, NOON),
        (InitialPosition(TRIM_HORIZON, None, MADE), [started("a", LATER), started("b", NOON)], TRIM_HORIZON, NOON),
        (InitialPosition(LATEST, LATER, MADE), [started("a", NOON), started("b", None)], TRIM_HORIZON, None),
        (InitialPosition(LATEST, LATER, MADE), [started("a", None)], TRIM_HORIZON, None),
    ],
)
def test_a_new_row_starts_where_the_application_first_started(
    mine: InitialPosition, rows: Sequence[Lease], position: Position, at: datetime | None
) -> None:
    """The earliest instant on the rows, whatever this worker was started with; of a KCL's row nobody knows it."""
    origin = mine.following(rows)
    assert origin == InitialPosition(position, at, MADE)
    made = origin.lease(shard("new", "root", keys=LEFT))
    assert (made.started_at, made.checkpoint, made.stream_created_at) == (at, position, MADE)
    assert (made.shard_id, made.parents, made.hash_range) == ("new", ("root",), LEFT)
