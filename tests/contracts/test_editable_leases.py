"""Hold every lease table to the part of the contract that only commands of an operator use."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.leases import Change, EditableLeaseTable, Halt, Lease, Pending, Token, WorkerIdentity, Written
from consumer.leases import lease as steps
from consumer.records import SHARD_END, TRIM_HORIZON, Position

ME = WorkerIdentity("me", "a1")
ENDED = Lease(
    "shardId-000000000000",
    checkpoint=SHARD_END,
    children=("shardId-000000000001",),
    owner="me",
    counter=7,
    token=Token("me", "a1", 7),
)


def put(table: EditableLeaseTable, lease: Lease) -> Lease:
    """Store exactly this row."""
    table.create(lease)
    [row] = table.read([lease.shard_id])
    return row


def test_an_ended_row_is_reopened(table: EditableLeaseTable) -> None:
    """A position before the first record of its KPL aggregate is kept exactly."""
    row = put(table, ENDED)
    after = replace(steps.renewed(row, ME, None), checkpoint=Position.of(10**55, -1), children=())
    assert list(table.rewrite([Change(row, after)])) == [Written(after, done=True)]
    assert list(table.read([row.shard_id])) == [after]
    back = replace(steps.renewed(after, ME, None), checkpoint=TRIM_HORIZON)
    assert list(table.rewrite([Change(after, back)])) == [Written(back, done=True)]


def test_a_pending_checkpoint_is_removed(table: EditableLeaseTable) -> None:
    """A prepared batch may be what stops the shard."""
    row = put(table, replace(ENDED, checkpoint=TRIM_HORIZON, pending=Pending(Position.of(5), "rows/5")))
    after = replace(steps.renewed(row, ME, None), checkpoint=Position.of(9), pending=None)
    assert table.rewrite([Change(row, after)])[0].done
    assert list(table.read([row.shard_id])) == [after]


SINCE: dict[str, Callable[[Lease], Lease]] = {
    "counter": lambda row: replace(row, counter=row.counter + 1),
    "owner": lambda row: replace(row, owner="peer"),
    "checkpoint owner": lambda row: replace(row, checkpoint_owner="kcl"),
    "token": lambda row: replace(row, token=Token("me", "another start", row.counter)),
    "token gone": lambda row: replace(row, token=None),
}


@pytest.mark.parametrize("since", SINCE)
def test_a_row_that_changed_is_neither_rewritten_nor_removed(table: EditableLeaseTable, since: str) -> None:
    """Another worker has it, so the command has to stop."""
    stands = put(table, SINCE[since](ENDED))
    after = replace(steps.renewed(ENDED, ME, None), checkpoint=TRIM_HORIZON)
    assert list(table.rewrite([Change(ENDED, after)])) == [Written(stands, done=False)]
    assert not table.remove(ENDED)
    assert list(table.scan()) == [stands]


@pytest.mark.parametrize("checkpoint", [SHARD_END, Position.of(3), TRIM_HORIZON], ids=str)
def test_an_unchanged_row_is_removed_and_may_be_removed_again(table: EditableLeaseTable, checkpoint: Position) -> None:
    """The response to the first request may be lost."""
    row = put(table, replace(ENDED, checkpoint=checkpoint))
    assert table.remove(row)
    assert table.remove(row)
    assert list(table.scan()) == []


def test_a_table_in_use_exists(table: EditableLeaseTable) -> None:
    assert table.exists()


def test_an_operator_answers_a_halt_beside_the_owner(table: EditableLeaseTable) -> None:
    """The counter stays the same, and the owner's next write shows the answer and keeps it."""
    halt = Halt("not-json", 10**55)
    row = put(table, steps.halted(replace(ENDED, checkpoint=Position.of(5)), ME, halt))
    assert table.answer_halt(row, halt._replace(skip=True))
    assert not table.answer_halt(row, None), "it was answered already"
    [written] = table.write([Change(row, steps.renewed(row, ME, None))])
    assert written.done
    assert written.row is not None
    assert (written.row.halted, written.row.counter) == (halt._replace(skip=True), row.counter + 1)
    assert table.answer_halt(written.row, None)
    [row] = table.read([row.shard_id])
    assert row.halted is None


def test_a_checkpoint_at_or_after_the_record_ends_a_halt() -> None:
    """One before it keeps it."""
    row = steps.halted(replace(ENDED, checkpoint=Position.of(5)), ME, Halt("not-json", 9))
    assert [steps.checkpointed(row, ME, Position.of(n)).halted is None for n in (8, 9, 10)] == [False, True, True]


def test_a_row_that_does_not_exist_has_no_halt_to_answer(table: EditableLeaseTable) -> None:
    assert not table.answer_halt(replace(ENDED, checkpoint=Position.of(5)), Halt("not-json", 9))
