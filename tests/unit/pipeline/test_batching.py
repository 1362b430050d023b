"""Collect the rows and dead letters of one shard in batches."""

from collections.abc import Sequence

import pytest

from consumer.pipeline.batching import Buffer, Chunk
from consumer.pipeline.spool import Spool
from consumer.records import BatchLimits, DeadLetter, EventLocation, Outcome, Position, Reason, Record, Row, Skipped
from tests.unit.fakes import encode_dead_letter, row

LIMITS = BatchLimits(rows=3, bytes=100, age=2.0)
ARRIVED = 1_767_229_200.0  # 2026-01-01 01:00 UTC


def add(buffer: Buffer, sequence: int, outcomes: Sequence[Outcome], now: float = 0.0) -> None:
    """Add one record as the shard consumer does."""
    record = Record(sequence, "key", ARRIVED, b"")

    def other(outcome: DeadLetter | Skipped) -> None:
        if isinstance(outcome, DeadLetter):
            buffer.add_dead_letter(encode_dead_letter(outcome))

    buffer.add(record, Position.of(sequence), outcomes, now, other)


def dead(sequence: int) -> DeadLetter:
    return DeadLetter(Reason.NOT_JSON, "no", EventLocation("s", "shard", sequence, 0, 0, "key", ARRIVED), b"")


@pytest.mark.parametrize("memory", [None, 0, 10])
def test_a_spool_returns_its_items_from_memory_and_from_disk(memory: int | None) -> None:
    """Any part can be read repeatedly."""
    spool = Spool(memory)
    for number in range(20):
        spool.append(row(number), 1)
    assert len(spool) == 20
    for start, stop in ((0, 20), (5, 8), (19, 20), (0, 20)):
        assert [item.line for item in spool.between(start, stop)] == [row(n).line for n in range(start, stop)]
    spool.close()


def test_a_spool_keeps_a_limited_size_in_memory() -> None:
    """The rest goes to disk, and the budget gets the right size."""
    spool = Spool(memory=100)
    sizes = []
    for number in range(50):
        spool.append(row(number), 30)
        sizes.append(spool.size)
    assert max(sizes) <= 100
    assert len(spool) == 50
    spool.close()


def test_a_batch_is_full_by_rows_or_bytes_and_due_by_age() -> None:
    """The first limit decides."""
    by_rows, by_bytes = Buffer("shard", LIMITS), Buffer("shard", LIMITS)
    for sequence in (1, 2):
        add(by_rows, sequence, [row(sequence)], now=5.0)
        assert not by_rows.full()
    add(by_rows, 3, [dead(3)])
    assert by_rows.full()
    add(by_bytes, 1, [Row(b"x" * 100, row(1).location, b"")])
    assert by_bytes.full()
    assert by_rows.ripe_in(6.0) == 1.0
    assert Buffer("shard", LIMITS).ripe_in(6.0) == float("inf")


def test_a_batch_name_contains_the_hour_of_arrival_and_the_range() -> None:
    """The same records give the same name, and skipped records count."""
    buffer = Buffer("shard", LIMITS)
    add(buffer, 7, [Skipped("other")])
    add(buffer, 8, [row(8)])
    add(buffer, 9, [Skipped("other")])
    batch = buffer.batch()
    assert batch.name == "dt=2026-01-01/hour=01/shard-7-9"
    assert batch.end == Position.of(9)


def test_dead_letters_come_first_and_skipped_records_write_nothing() -> None:
    """A batch without rows still moves the checkpoint."""
    buffer = Buffer("shard", LIMITS)
    assert buffer.empty
    add(buffer, 1, [row(1), dead(1)])
    assert [chunk.dead for chunk in buffer.batch().work] == [True, False]
    skipped = Buffer("shard", LIMITS)
    add(skipped, 1, [Skipped("other")])
    assert not skipped.empty
    assert not skipped.batch().work


def test_the_halves_of_a_batch_contain_all_of_its_items() -> None:
    """Bisecting loses nothing."""
    spool = Spool()
    for number in range(5):
        spool.append(row(number), 1)
    left, right = Chunk("name", spool, 0, 5).halves()
    assert [*left, *right] == list(Chunk("name", spool, 0, 5))
    assert (left.name, right.name) == ("name~0-2", "name~2-5")
