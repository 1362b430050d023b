"""Reset, export and import checkpoints on every lease table."""

import pytest

from consumer.leases import EditableLeaseTable, Pending
from consumer.records import TRIM_HORIZON, Position
from tests.unit.checkpoints.worlds import World, at, free


@pytest.fixture
def world(table: EditableLeaseTable) -> World:
    """A shard that was split, and whose halves were merged again. All is read."""
    world = World(table=table)
    left, right = (shard.shard_id for shard in world.stream.shards())
    world.put(left, 1)
    one, two = world.stream.split(left)
    last = world.put(one, 11)
    [merged] = world.stream.merge(one, two)
    world.put(merged, 21)
    newest = world.put(right, 30)
    for shard_id in (left, one, two):
        world.row(shard_id, minutes=20, children=(merged,) if shard_id != left else (one, two))
    world.row(merged, Position.of(last), 21, pending=Pending(Position.of(newest), "rows/1", "v1"), counter=4)
    world.row(right, Position.of(newest), 30, started_at=at(0))
    return world


def test_a_reset_and_an_import_bring_each_other_back(world: World) -> None:
    """The lineage is read again, and the copy restores every checkpoint exactly."""
    before = world.checkpoints.export()
    left, right, one, two, _ = (shard.shard_id for shard in world.stream.shards())
    world.reset(at(5).isoformat())
    rows = world.rows
    assert set(rows) == {left, right, one, two}
    assert rows[left].ended
    assert rows[one].checkpoint.sub_sequence == -1
    assert rows[two].ended
    world.reset("trim-horizon")
    assert {shard_id: row.start for shard_id, row in world.rows.items()} == {left: TRIM_HORIZON, right: TRIM_HORIZON}
    world.checkpoints.carry_out(world.checkpoints.plan_import(before))
    after = world.checkpoints.export()
    assert after.checkpoints == before.checkpoints
    assert free(list(world.rows.values()))
