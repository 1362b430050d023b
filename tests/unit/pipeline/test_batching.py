"""Collect the rows and dead letters of one shard in batches."""

from collections.abc import Sequence

import pytest

from consumer.pipeline.batching import BLOCK_OVERHEAD, DATA_OVERHEAD, Buffer, Part
from consumer.pipeline.spool import Spool
from consumer.records import BatchLimits, Block, DeadLetter, Decoded, EventLocation, Position, Reason
from tests.unit.fakes import block, decoded, encode_dead_letter, line, shown

LIMITS = BatchLimits(rows=3, bytes=100_000, age=2.0)
ARRIVED = 1_767_229_200.0  # 2026-01-01 01:00 UTC


def buffer(memory: int | None = None) -> Buffer:
    return Buffer("shard", LIMITS, encode_dead_letter, memory)


def one(
    sequence: int, rows: Sequence[int] = (), letters: Sequence[DeadLetter] = (), skipped: Sequence[str] = ()
) -> Decoded:
    """Return what one record became."""
    return Decoded(block(rows), letters, skipped, 1, 1, 0, sequence, Position.of(sequence), ARRIVED)


def dead(sequence: int) -> DeadLetter:
    return DeadLetter(Reason.NOT_JSON, "no", EventLocation("s", "shard", sequence, 0, 0, "key", ARRIVED), b"")


@pytest.mark.parametrize("memory", [None, 0, 10_000])
@pytest.mark.parametrize("together", [1, 3, 20])
def test_a_spool_returns_its_rows_from_memory_and_from_disk(memory: int | None, together: int) -> None:
    """Any part can be read repeatedly, also one that begins or ends inside a block."""
    spool = Spool(memory)
    for first in range(0, 20, together):
        spool.append(block(range(first, min(first + together, 20))), 2_000)
    assert len(spool) == 20
    for start, stop in ((0, 20), (5, 8), (5, 7), (19, 20), (4, 4), (0, 20)):
        found = list(spool.between(start, stop))
        assert b"".join(part.lines for part in found) == b"".join(line(number) for number in range(start, stop))
        assert sum(map(len, found)) == stop - start
    spool.close()


@pytest.mark.parametrize("memory", [None, 0, 2_500])
def test_a_spool_returns_the_user_record_of_each_row(memory: int | None) -> None:
    """It is that of the row, in memory and on disk."""
    spool, records = Spool(memory), [b"%d" % number * 50 for number in range(9)]
    for first in range(0, 9, 3):
        spool.append(Block(b"{}\n" * 3, 3, records[first : first + 3]), 1_000)
    order = [8, 0, 3, 2, *range(9)]
    assert [spool.data(number) for number in order] == [records[number] for number in order]
    spool.close()


def test_a_spool_keeps_a_limited_size_in_memory() -> None:
    """The rest goes to disk, and the budget gets the right size."""
    spool = Spool(memory=100)
    sizes = []
    for number in range(50):
        spool.append(block([number]), 30)
        sizes.append(spool.size)
    assert max(sizes) <= 100
    assert len(spool) == 50
    spool.close()


def test_a_batch_is_full_by_rows_or_bytes_and_due_by_age() -> None:
    """The first limit decides."""
    by_rows, by_bytes = buffer(), buffer()
    for sequence in (1, 2):
        by_rows.add([one(sequence, [sequence])], 5.0)
        assert not by_rows.full()
    by_rows.add([one(3, letters=[dead(3)])], 5.0)
    assert by_rows.full()
    by_bytes.add([Decoded(Block(b"x" * 100_000, 1), (), (), 1, 1, 0, 1, Position.of(1), 0.0)], 0.0)
    assert by_bytes.full()
    assert by_rows.ripe_in(6.0) == 1.0
    assert buffer().ripe_in(6.0) == float("inf")


def test_the_room_of_a_batch_is_never_zero() -> None:
    """A prepared batch may exceed the limits, and each call of a decoder takes a record."""
    filling, rooms = buffer(), []
    for sequence in range(1, 6):
        rooms.append(filling.room)
        filling.add([one(sequence, [sequence])], 0.0)
    assert rooms == [3, 2, 1, 1, 1]


def test_the_memory_of_a_batch_has_lines_and_user_records() -> None:
    """All rows of an array share one, also in different blocks."""
    array, another = bytes(10_000), bytes(5_000)
    blocks = [block([1, 1], array), block([1], array), block([2], another)]
    filling = buffer()
    filling.add([Decoded(made, (), (), 1, 1, 0, 1, Position.of(1), 0.0) for made in blocks], 0.0)
    lines = sum(len(made.lines) for made in blocks)
    assert filling.size == lines + len(array) + len(another) + 2 * DATA_OVERHEAD + 3 * BLOCK_OVERHEAD
    filling.spill()
    assert filling.size == 0
    filling.close()


def test_a_batch_name_contains_the_hour_of_arrival_and_the_range() -> None:
    """The same records give the same name, and skipped records count."""
    filling = buffer()
    filling.add([one(7, skipped=["other"]), one(8, [8])], 0.0)
    filling.add([one(9, skipped=["other"])], 0.0)
    batch = filling.batch()
    assert batch.name == "dt=2026-01-01/hour=01/shard-7-9"
    assert batch.end == Position.of(9)


def test_a_block_of_several_records_names_the_first_and_ends_on_the_last() -> None:
    """Its records count one by one."""
    filling = buffer()
    filling.add([decoded([4, 5, 6], ARRIVED)], 0.0)
    batch = filling.batch()
    assert (batch.name, batch.end) == ("dt=2026-01-01/hour=01/shard-4-6", Position.of(6))
    assert (batch.tally.fetched, batch.tally.user_records) == (3, 3)


def test_dead_letters_come_first_and_skipped_records_write_nothing() -> None:
    """A batch without rows still moves the checkpoint."""
    filling, skipped = buffer(), buffer()
    assert filling.empty
    filling.add([one(1, [1], [dead(1)])], 0.0)
    assert [part.dead for part in filling.batch().work] == [True, False]
    skipped.add([one(1, skipped=["other"])], 0.0)
    assert not skipped.empty
    assert not skipped.batch().work


@pytest.mark.parametrize("together", [1, 2, 5])
def test_the_halves_of_a_batch_contain_all_of_its_rows(together: int) -> None:
    """Bisecting loses nothing."""
    spool = Spool()
    for first in range(0, 5, together):
        spool.append(block(range(first, min(first + together, 5))), 1)
    left, right = Part("name", spool, 0, 5).halves()
    assert [*shown(left), *shown(right)] == shown(Part("name", spool, 0, 5))
    assert (len(left), len(right)) == (2, 3)
    assert (left.name, right.name) == ("name~0-2", "name~2-5")
