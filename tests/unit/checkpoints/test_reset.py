"""Test to which position a reset moves each shard of a lineage."""

from datetime import timedelta

import pytest

from consumer.errors import ConfigurationError
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lineage import missing, runnable
from consumer.leases import Pending
from consumer.records import LATEST, SHARD_END, TRIM_HORIZON, Position
from tests.unit.checkpoints.worlds import World, at, free


@pytest.fixture
def world() -> World:
    return World()


class Family:
    """Two shards; the left one was split at minute 10, and the halves were merged again at minute 20."""

    def __init__(self, world: World) -> None:
        self.left, self.right = (shard.shard_id for shard in world.stream.shards())
        self.early = world.put(self.left, 1)
        self.late = world.put(self.left, 9)
        self.one, self.two = world.stream.split(self.left)
        self.in_one = world.put(self.one, 11)
        self.in_two = world.put(self.two, 12)
        [self.merged] = world.stream.merge(self.one, self.two)
        self.in_merged = world.put(self.merged, 21)
        self.in_right = world.put(self.right, 22)
        world.put(self.right, 30)
        world.row(self.left, minutes=9)
        world.row(self.one, minutes=11)
        world.row(self.two, minutes=12)
        world.row(self.merged, Position.of(self.in_merged), 21)
        world.row(self.right, Position.of(self.in_right), 22)


def test_the_trim_horizon_reopens_the_oldest_parents_and_removes_their_descendants(world: World) -> None:
    """Workers create the removed rows again, for whole shards, and read them after their parents."""
    family = Family(world)
    world.reset("trim-horizon")
    rows = world.rows
    assert set(rows) == {family.left, family.right}
    assert all(row.start == TRIM_HORIZON for row in rows.values())
    assert free(list(rows.values()))
    again = missing(world.stream.shards(), set(rows))
    position = InitialPosition(LATEST, at(30), None).following(rows.values())
    created = [position.lease(shard) for shard in again]
    assert {row.shard_id for row in created} == {family.one, family.two, family.merged}
    assert all(row.start == TRIM_HORIZON for row in created)
    assert {row.shard_id for row in runnable([*rows.values(), *created])} == {family.left, family.right}


@pytest.mark.parametrize(
    ("minutes", "reopened", "removed"),
    [
        (5, {"left": "late", "right": "in_right"}, {"one", "two", "merged"}),
        (11.5, {"two": "in_two", "right": "in_right"}, {"merged"}),
        (20.5, {"merged": "in_merged", "right": "in_right"}, set()),
    ],
)
def test_a_time_becomes_the_sequence_number_of_the_first_record_since_then(
    world: World, minutes: float, reopened: dict[str, str], removed: set[str]
) -> None:
    """A shard that ended before then stays at its end, and its children are moved in its place."""
    family = Family(world)
    world.reset(at(minutes).isoformat())
    rows = world.rows
    for shard, record in reopened.items():
        row = rows[getattr(family, shard)]
        assert row.checkpoint == Position.of(getattr(family, record), -1)
        assert row.read_to == row.started_at == at(minutes)
    kept = {"left", "one", "two", "merged", "right"} - removed
    assert set(rows) == {getattr(family, shard) for shard in kept}
    assert all(rows[getattr(family, shard)].ended for shard in kept - set(reopened))


def test_a_shard_without_later_records_starts_at_the_instant(world: World) -> None:
    """Its first record may come any time, and a worker of this program reads it from then."""
    left, right = (shard.shard_id for shard in world.stream.shards())
    record = world.put(left, 1)
    for shard_id in (left, right):
        world.row(shard_id, Position.of(record), 1)
    world.clock.now = at(30).timestamp()
    plan = world.reset(at(20).isoformat())
    assert all(row.start == Position.at_timestamp(at(20)) for row in world.rows.values())
    assert "a KCL would read it from the trim horizon" in "\n".join(plan.lines())


def test_a_time_before_the_trim_horizon_becomes_the_trim_horizon(world: World) -> None:
    """Otherwise what the stream no longer has would be reported as trimmed unread."""
    left, _ = (shard.shard_id for shard in world.stream.shards())
    record = world.put(left, 60 * 40)
    world.row(left, Position.of(record), 60 * 40)
    world.reset(at(0).isoformat(), left)
    assert world.rows[left].read_to == at(60 * 40) - timedelta(days=1)


def test_latest_ends_closed_shards_and_starts_at_the_tip_of_the_open_ones(world: World) -> None:
    """A shard that is behind when it was closed is not read to its end."""
    family = Family(world)
    row = world.rows[family.left]
    world.table.remove(row)
    world.row(family.left, Position.of(family.early), 1, pending=Pending(Position.of(family.late), "batch"))
    world.clock.now = at(40).timestamp()
    plan = world.reset("latest")
    assert [move.after.shard_id for move in plan.moves] == [family.left, family.right, family.merged]
    rows = world.rows
    assert {shard_id for shard_id, row in rows.items() if row.ended} == {family.left, family.one, family.two}
    assert rows[family.left].pending is None
    assert all(rows[shard].checkpoint == LATEST for shard in (family.merged, family.right))
    assert all(rows[shard].started_at == at(40) - timedelta(seconds=5) for shard in (family.merged, family.right))
    assert (
        "up to 38.9 min of records are not read; to read them later: call-consumer replay calls"
        " --from 2026-11-01T12:01:00.000Z --to 2026-11-01T12:39:55.000Z"
    ) in list(plan.lines())


def test_a_sequence_number_moves_one_shard_behind_that_record(world: World) -> None:
    """All user records of the record are left out. What was read of its descendants will be read again."""
    family = Family(world)
    plan = world.reset(str(family.early), family.left)
    rows = world.rows
    assert set(rows) == {family.left, family.right}
    assert rows[family.left].checkpoint == Position.of(family.early, 0)
    assert rows[family.left].read_to == at(1)
    assert rows[family.right].checkpoint == Position.of(family.in_right)
    assert "up to 20 min of records are read again" in list(plan.lines())


def test_a_part_of_an_aggregate_can_be_named(world: World) -> None:
    """The checkpoint of another program may be there."""
    left, _ = (shard.shard_id for shard in world.stream.shards())
    record = world.put(left, 1)
    world.row(left, Position.of(record), 1)
    world.reset(f"{record}.7", left)
    assert world.rows[left].checkpoint == Position.of(record, 7)


def test_only_the_lineage_of_a_chosen_shard_is_moved(world: World) -> None:
    """Others are not even taken: they may be read meanwhile."""
    family = Family(world)
    before = world.rows
    world.reset("trim-horizon", family.one)
    rows = world.rows
    assert rows[family.one].start == TRIM_HORIZON
    assert family.merged not in rows
    for shard in (family.left, family.two, family.right):
        assert rows[shard] == before[shard]


def test_an_ended_parent_without_a_row_gets_one_again(world: World) -> None:
    """A KCL deletes the row of a finished parent once its children are read."""
    family = Family(world)
    for shard in (family.left, family.one, family.two):
        world.table.remove(world.rows[shard])
    world.reset(at(5).isoformat())
    assert set(world.rows) == {family.left, family.right}
    assert world.rows[family.left].checkpoint == Position.of(family.late, -1)
    assert world.rows[family.left].hash_range == world.stream.shards()[0].hash_range


def test_a_second_reset_changes_nothing(world: World) -> None:
    """Its plan is empty, so nothing is asked and nothing is written."""
    Family(world)
    world.reset(at(5).isoformat())
    before = world.rows
    plan = world.reset(at(5).isoformat())
    assert plan.empty
    assert "nothing to change" in "\n".join(plan.lines())
    assert world.rows == before


@pytest.mark.parametrize(
    ("to", "shards", "says"),
    [
        ("17", [], "name it by --shard"),
        ("17", ["left", "right"], "name it by --shard"),
        ("17", ["left"], "has no such record"),
        ("latest", ["shardId-9"], "does not list it"),
        ("yesterday", [], "or a sequence number"),
        ("2999-01-01", [], "in the future"),
    ],
)
def test_an_impossible_target_is_refused_in_one_line(world: World, to: str, shards: list[str], says: str) -> None:
    """It names the flag, and nothing is changed."""
    family = Family(world)
    before = world.rows
    with pytest.raises(ConfigurationError, match=says):
        world.reset(to, *(getattr(family, shard, shard) for shard in shards))
    assert world.rows == before


def test_a_trimmed_record_is_no_target(world: World) -> None:
    """The message names the oldest record after it."""
    family = Family(world)
    world.stream.trim(family.left, 1)
    with pytest.raises(ConfigurationError, match=str(family.late)):
        world.reset(str(family.early), family.left)


def test_rows_of_a_deleted_stream_are_refused(world: World) -> None:
    """Their sequence numbers mean nothing on the new one."""
    left, _ = (shard.shard_id for shard in world.stream.shards())
    world.row(left, Position.of(5), 1, stream_created_at=at(-60))
    with pytest.raises(ConfigurationError, match="another 'calls'"):
        world.reset("latest")


def test_an_application_without_checkpoints_is_refused(world: World) -> None:
    """Probably its name is wrong."""
    with pytest.raises(ConfigurationError, match="check --application"):
        world.reset("latest")


def test_the_end_of_a_shard_is_read_once_more_to_its_last_record(world: World) -> None:
    """SHARD_END stays where the time is later than the last record."""
    family = Family(world)
    world.reset(at(10.5).isoformat(), family.left)
    assert world.rows[family.left].checkpoint == SHARD_END
    assert world.rows[family.one].checkpoint == Position.of(family.in_one, -1)
