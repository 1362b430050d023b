"""Decide by parents and children which shards get rows, are read, and lose their rows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

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
        (["c"], []),  # its descendant was read, so all shards before it are finished
        (["a"], ["b", "c"]),  # the other half of the split was not; its parent was also that of the first
        (["b"], ["a", "c"]),
        (["root", "a", "b", "c"], []),
        (["somebody's"], ["root", "a", "b", "c"]),
    ],
)
def test_a_listed_shard_gets_a_row_unless_a_descendant_has_one(rows: Sequence[str], needed: Sequence[str]) -> None:
    """Such a shard finished before and its row was removed, so reading it again would repeat all of it."""
    assert ids(missing(FAMILY, rows)) == needed


def test_a_grandchild_shows_that_all_shards_before_it_are_finished() -> None:
    """There may be any number of generations between."""
    chain = [shard("g0", at=1), *(shard(f"g{n}", f"g{n - 1}", at=n + 1) for n in range(1, 5))]
    assert missing(chain, ["g4"]) == []
    assert ids(missing(chain, ["g3"])) == ["g4"]


def test_parents_get_their_rows_before_their_children() -> None:
    """The order of the listing does not matter. A crash between two rows then leaves no child without its parents."""
    assert ids(missing(FAMILY[::-1], [])) == ["root", "a", "b", "c"]


@pytest.mark.parametrize("without", ["a", "b"])
def test_a_parent_that_is_not_listed_is_not_waited_for(without: str) -> None:
    """The stream has trimmed it."""
    listed = [shard for shard in FAMILY if shard.shard_id not in (without, "root")]
    assert "c" in ids(missing(listed, []))


def test_a_merge_child_gets_a_row_only_after_each_listed_parent_has_one() -> None:
    """If a parent comes after its child, the child waits for the next listing."""
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
        ([ended("b"), row("c", "a", "b")], ["c"]),  # the other parent's row was removed long ago
        ([row("c", "a", "b")], ["c"]),
        ([row("a"), row("c", "b", "a")], ["a"]),
        ([ended("a")], []),
    ],
)
def test_a_shard_is_read_when_all_its_parents_have_ended(rows: Sequence[Lease], may_run: Sequence[str]) -> None:
    """A merge child waits for both, and an ended shard is not read."""
    assert ids(runnable(rows)) == may_run


@pytest.mark.parametrize(
    ("children", "goes"),
    [
        ([row("child", "parent", checkpoint=TRIM_HORIZON)], False),
        ([row("child", "parent", checkpoint=LATEST)], False),
        ([row("child", "parent", checkpoint=Position.at_timestamp(NOON))], False),
        ([row("child", "parent"), row("child too", "parent", checkpoint=TRIM_HORIZON)], False),
        ([row("child", "other", "parent", checkpoint=TRIM_HORIZON)], False),  # a merge child, by its second parent
        ([row("child", "parent")], True),
        ([ended("child", "parent")], True),
        ([row("child", "parent"), ended("child too", "parent")], True),
        ([row("stranger", checkpoint=TRIM_HORIZON)], True),
        ([], True),
    ],
)
def test_the_row_of_a_finished_shard_stays_until_its_children_have_moved_on(
    children: Sequence[Lease], goes: bool
) -> None:
    """A child without a checkpoint is held back only by its parent's row."""
    assert bool(tombstones([ended("parent"), *children], listed=())) is goes


def test_the_row_of_a_finished_shard_stays_while_the_shard_is_listed() -> None:
    """An old listing must not bring the shard back. A row of an unfinished shard always stays."""
    assert tombstones([ended("parent")], listed={"parent"}) == []
    assert tombstones([row("parent")], listed=()) == []
    assert ids(tombstones([ended("parent"), ended("other")], listed={"other"})) == ["parent"]


COVERS = [
    ([row("a", keys=LEFT), row("b", keys=RIGHT)], True),
    ([row("a")], True),
    ([ended("root"), row("a", keys=LEFT), row("b", keys=RIGHT)], True),  # covered by its descendants
    ([row("a", keys=LEFT), row("b", keys=RIGHT), row("d", keys=FIRST_QUARTER)], True),  # a parent and its child
    ([ended("a", keys=LEFT), row("b", keys=RIGHT), row("d", keys=FIRST_QUARTER), row("e", keys=SECOND_QUARTER)], True),
    # in the middle of its parent
    ([row("a", keys=LEFT), row("b", keys=RIGHT), row("f", keys=(QUARTER, QUARTER + 9))], True),
    ([ended("a", keys=LEFT), row("b", keys=RIGHT), row("e", keys=SECOND_QUARTER)], False),  # a hole at the beginning
    ([ended("a", keys=LEFT), row("b", keys=RIGHT), row("d", keys=FIRST_QUARTER)], False),  # a hole in the middle
    ([row("a", keys=LEFT)], False),  # a hole at the end
    ([row("a", keys=LEFT), row("b", keys=(HALF, LAST - 1))], False),  # by one key
    ([row("a", keys=(0, HALF - 2)), row("b", keys=RIGHT)], False),  # by one key
    ([row("a", keys=(1, LAST))], False),  # by one key
    ([row("a"), row("b")], False),  # rows of a KCL 1.x, which have no ranges
    ([ended("a"), ended("b")], False),
    ([], False),
]


@pytest.mark.parametrize(("rows", "whole"), COVERS)
def test_a_hole_between_the_unfinished_rows_is_found(rows: Sequence[Lease], whole: bool) -> None:
    """Some shard has no row, so the stream must be listed. The order of rows does not matter."""
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
def test_a_listing_may_be_complete_only_if_its_youngest_shards_cover_all_keys(
    shards: Sequence[Shard], whole: bool
) -> None:
    """An incomplete listing proves nothing."""
    assert complete(shards) is whole


@pytest.mark.parametrize(
    ("shards", "doubt"),
    [
        (FAMILY, False),
        ([ROOT], True),  # closed, and its children are missing
        ([shard("root")], False),
        ([A, B, C], True),  # a parent is missing: trimmed or left out
        ([ROOT, A, B], True),
    ],
)
def test_a_listing_that_lacks_relatives_is_repeated(shards: Sequence[Shard], doubt: bool) -> None:
    """A second listing must agree."""
    assert doubtful(shards) is doubt


def test_unfinished_rows_are_those_that_have_not_ended() -> None:
    """They are returned by shard."""
    assert unfinished([ended("a"), row("b"), row("c")]) == {"b", "c"}
