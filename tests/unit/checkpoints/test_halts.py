"""Let halted shards read on."""

from dataclasses import replace

import pytest

from consumer.checkpoints.halts import Halts
from consumer.checkpoints.listing import table as listed
from consumer.errors import ConfigurationError
from consumer.leases import Halt, Lease
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import Position
from tests.unit.checkpoints.worlds import World, at

ROWS = [Lease(f"shard{number}", Position.of(5)) for number in range(3)]
HALT = Halt("not-json", 9)


def table() -> MemoryLeaseTable:
    """Return a table of three shards, of which the first two are halted."""
    table = MemoryLeaseTable()
    for row in ROWS:
        table.create(replace(row, halted=HALT) if row is not ROWS[2] else row)
    return table


@pytest.mark.parametrize(("skip", "answer"), [(False, None), (True, Halt("not-json", 9, skip=True))])
def test_every_halted_shard_reads_on(skip: bool, answer: Halt | None) -> None:
    """With the record, or after it."""
    leases = table()
    halts = Halts(leases.scan(), [], skip)
    assert len(list(halts.lines())) == 2
    halts.carry_out(leases)
    assert [row.halted for row in leases.scan()] == [answer, answer, None]


def test_one_shard_can_be_named() -> None:
    """A mistyped name, or one that is not halted, is an error."""
    leases = table()
    Halts(leases.scan(), ["shard1"], skip=False).carry_out(leases)
    assert [row.halted for row in leases.scan()] == [HALT, None, None]
    with pytest.raises(ConfigurationError, match="shard1: it is not halted"):
        Halts(leases.scan(), ["shard1"], skip=False)


def test_a_halt_that_changed_meanwhile_is_not_answered() -> None:
    """The owner may have halted at another record."""
    leases = table()
    halts = Halts(leases.scan(), [], skip=True)
    leases.answer_halt(leases.scan()[0], Halt("not-json", 77))
    with pytest.raises(ConfigurationError, match="run the command again"):
        halts.carry_out(leases)


def test_without_a_halted_shard_there_is_nothing_to_do() -> None:
    """The plan says so."""
    halts = Halts([ROWS[2]], [], skip=True)
    assert halts.empty
    assert list(halts.lines()) == ["no shard is halted"]


def test_the_list_of_checkpoints_names_halted_shards() -> None:
    """With reason and record, or that the record is left out."""
    rows = [replace(ROWS[0], halted=HALT), replace(ROWS[1], halted=HALT._replace(skip=True))]
    shown = list(listed(rows, {}, at(0)))
    assert "halted by not-json at 9" in shown[1]
    assert "skips 9" in shown[2]


def test_a_reset_ends_a_halt() -> None:
    """The operator has decided where reading continues."""
    world = World()
    shard = world.stream.shards()[0].shard_id
    world.row(shard, Position.of(5), 1, halted=HALT)
    world.row(world.stream.shards()[1].shard_id, Position.of(5), 1)
    world.reset("trim-horizon")
    assert {row.halted for row in world.rows.values()} == {None}
