"""Test that exported checkpoints are imported exactly."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.checkpoints.document import parsed, position_of, text_of
from consumer.checkpoints.listing import as_json, table
from consumer.errors import ConfigurationError
from consumer.leases import EditableLeaseTable, Pending, Scope
from consumer.leases.memory import MemoryLeaseTable
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.records import LATEST, SHARD_END, TRIM_HORIZON, Position
from tests.unit.checkpoints.worlds import World, at, free


@pytest.fixture
def world() -> World:
    """A stream with rows in every state."""
    world = World()
    left, right = (shard.shard_id for shard in world.stream.shards())
    one, two = world.stream.split(left)
    world.row(left, SHARD_END, 1, children=(one, two), started_at=at(0))
    pending = Pending(Position.of(10**55 + 9, 3), "dt=2026/rows-1", "v1")
    world.row(one, Position.of(10**55, -1), 2, pending=pending, lost_to=at(1), owner="dead", counter=9)
    world.row(two, LATEST, started_at=at(3))
    world.row(right, TRIM_HORIZON, throughput=1.5)
    return world


def copied(world: World, text: bytes | None = None) -> EditableLeaseTable:
    """Return a new table with an imported document."""
    document = world.checkpoints.export().model_dump_json().encode() if text is None else text
    other = replace(world, table=MemoryLeaseTable())
    checkpoints = other.checkpoints
    object.__setattr__(checkpoints, "connect", lambda: world.stream)
    checkpoints.carry_out(checkpoints.plan_import(parsed(document, "file")))
    return other.table


OWNERS = {"owner": None, "counter": 0, "token": None, "throughput": None, "switches": 0, "stream_created_at": None}


def test_a_round_trip_keeps_every_checkpoint(world: World) -> None:
    """This includes pending batches, so that their files are recognised. Owners are left out."""
    rows = {row.shard_id: row for row in copied(world).scan()}
    expected = {shard_id: replace(row, **OWNERS) for shard_id, row in world.rows.items()}  # type: ignore[arg-type]
    assert {shard_id: replace(row, **OWNERS) for shard_id, row in rows.items()} == expected  # type: ignore[arg-type]
    assert free(list(rows.values()))
    assert {row.stream_created_at for row in rows.values()} == {world.stream.summary().created_at}


def test_an_import_over_other_rows_replaces_them(world: World) -> None:
    """Rows that the file lacks are removed, and a shard that had ended is reopened."""
    document = world.checkpoints.export()
    left, right, one, two = (shard.shard_id for shard in world.stream.shards())
    for shard_id in (left, one):
        world.table.remove(world.rows[shard_id])
    world.row(left, Position.of(7), 1)
    world.row(one, SHARD_END, 9)
    document.checkpoints = [item for item in document.checkpoints if item.shard_id != two]
    plan = world.checkpoints.plan_import(document)
    assert [row.shard_id for row in plan.removals] == [two]
    assert "the file does not have it" in "\n".join(plan.lines())
    world.checkpoints.carry_out(plan)
    assert set(world.rows) == {left, right, one}
    assert world.rows[left].ended
    assert world.rows[one].checkpoint == Position.of(10**55, -1)


def test_a_plan_creates_no_table(world: World, tmp_path: Path) -> None:
    """It may be all that is asked for. The import itself creates the table."""
    file = tmp_path / "leases.db"
    document = world.checkpoints.export()
    other = World(world.clock, SqliteLeaseTable(file, Scope("app", "calls", 1.0)))
    other.stream = world.stream
    checkpoints = other.checkpoints
    plan = checkpoints.plan_import(document)
    assert not file.exists()
    with pytest.raises(ConfigurationError, match="has no checkpoints there"):
        checkpoints.export()
    assert not file.exists()
    checkpoints.carry_out(plan)
    assert checkpoints.export().checkpoints == document.checkpoints
    checkpoints.close()


def test_importing_what_is_there_changes_nothing(world: World) -> None:
    world.checkpoints.carry_out(world.checkpoints.plan_import(world.checkpoints.export()))
    before = world.rows
    plan = world.checkpoints.plan_import(world.checkpoints.export())
    assert plan.empty
    assert world.rows == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"format": "call-consumer checkpoints 9"}', "format"),
        (None, "checkpoints.1.checkpoint: .*neither SEQUENCE.SUBSEQUENCE nor one of AT_TIMESTAMP"),
    ],
)
def test_another_file_is_refused_in_one_line(world: World, text: bytes | None, says: str) -> None:
    """It names the file and the member."""
    if text is None:
        document = json.loads(world.checkpoints.export().model_dump_json())
        document["checkpoints"][1]["checkpoint"] = "later"
        text = json.dumps(document).encode()
    with pytest.raises(ConfigurationError, match=f"file: .*{says}") as refused:
        parsed(text, "file")
    assert "\n" not in str(refused.value)


def test_checkpoints_of_another_stream_are_refused(world: World) -> None:
    """By its name, and by its time of creation."""
    document = world.checkpoints.export()
    document.stream = "other"
    with pytest.raises(ConfigurationError, match="checkpoints of stream 'other'"):
        world.checkpoints.plan_import(document)
    document.stream, document.stream_created_at = "calls", at(-90)
    with pytest.raises(ConfigurationError, match="another 'calls'"):
        world.checkpoints.plan_import(document)


@pytest.mark.parametrize("position", [TRIM_HORIZON, LATEST, SHARD_END, Position.of(10**60, 9), Position.of(3, -1)])
def test_a_position_is_read_as_it_was_written(position: Position) -> None:
    assert position_of(text_of(position)) == position


def test_the_table_shows_progress_owner_and_checkpoint(world: World) -> None:
    """A damaged row is one of the lines."""
    lines = list(table(world.rows.values(), {"shardId-000000000099": "its checkpoint is missing"}, at(62)))
    assert lines[0].split() == ["shard", "read", "up", "to", "behind", "owner", "checkpoint"]
    assert "its end" in lines[1]
    assert "60 min" in lines[3]
    assert "dead" in lines[3]
    assert "batch prepared up to" in lines[3]
    assert "LATEST since 2026-11-01T12:03:00.000Z" in lines[4]
    assert "damaged" in lines[5]


def test_the_same_is_printed_as_json(world: World) -> None:
    rows = json.loads(as_json(world.rows.values(), {"shardId-000000000099": "why"}))
    assert [row.get("ended") for row in rows] == [True, False, False, False, None]
    assert rows[2]["owner"] == "dead"
    assert rows[-1] == {"shard_id": "shardId-000000000099", "damaged": "why"}
