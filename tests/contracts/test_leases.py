"""Hold every lease table to the contract: memory, SQLite, and each store that speaks DynamoDB."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.leases import Change, Halt, Lease, LeaseTable, NextOwner, Pending, Token, WorkerIdentity, Written
from consumer.leases import lease as steps
from consumer.records import LATEST, SHARD_END, TRIM_HORIZON, Position
from tests.contracts.conftest import KINDS, Connect

ME, PEER = WorkerIdentity("me", "a1"), WorkerIdentity("peer", "b2")
NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
SIXTY_DIGITS = int("123456789012345678901234567890123456789012345678901234567890")
PLAIN = Lease("shardId-000000000000")
FULL = Lease(
    "shardId-000000000007",
    checkpoint=Position.of(SIXTY_DIGITS, 41),
    parents=("shardId-000000000001", "shardId-000000000002"),
    children=("shardId-000000000009", "shardId-000000000010"),
    hash_range=(2**127, 2**128 - 1),
    owner="me",
    checkpoint_owner="kcl",
    counter=12,
    switches=3,
    token=Token("me", "a1", 12),
    pending=Pending(Position.of(SIXTY_DIGITS + 1, 2), "rows/0000.jsonl"),
    started_at=NOW - timedelta(hours=1),
    stream_created_at=NOW - timedelta(days=3),
    read_to=NOW,
    throughput=12.345678,
    wanted_by="peer",
    draining=True,
    lost_from=NOW - timedelta(days=2),
    lost_to=NOW - timedelta(days=1),
    halted=Halt("not-json", SIXTY_DIGITS + 2, skip=True),
)


def put(table: LeaseTable, lease: Lease) -> Lease:
    """Store exactly this row."""
    table.create(lease)
    return one(table, lease.shard_id)


def one(table: LeaseTable, shard_id: str) -> Lease:
    [row] = table.read([shard_id])
    return row


def write(table: LeaseTable, before: Lease, after: Lease) -> Written:
    [written] = table.write([Change(before, after)])
    return written


def test_a_new_table_is_empty(table: LeaseTable) -> None:
    """It has no leases. Checking it again changes nothing."""
    table.check()
    assert list(table.scan()) == []
    assert list(table.read([PLAIN.shard_id])) == []
    assert not table.assignees()
    assert not table.unreadable()


@pytest.mark.parametrize("lease", [PLAIN, FULL, replace(PLAIN, checkpoint=LATEST, started_at=NOW)], ids=str)
def test_a_row_is_read_as_it_was_created(table: LeaseTable, lease: Lease) -> None:
    """This includes numbers of sixty digits, microseconds, and missing fields."""
    table.create(lease)
    assert list(table.scan()) == [lease]
    assert list(table.read([lease.shard_id])) == [lease]


def test_creating_a_row_twice_keeps_the_first(table: LeaseTable) -> None:
    """Two workers may find the same new shard."""
    table.create(FULL)
    table.create(replace(FULL, owner=None, counter=0, token=None, checkpoint=TRIM_HORIZON))
    assert one(table, FULL.shard_id) == FULL


def test_a_read_returns_the_existing_rows(table: LeaseTable) -> None:
    """Any number of ids may be requested, and the order is undefined."""
    rows = [replace(PLAIN, shard_id=f"shardId-{number:012}") for number in range(130)]
    for row in rows:
        table.create(row)
    asked = [row.shard_id for row in rows] + ["shardId-999999999999", rows[0].shard_id]
    assert sorted({row.shard_id for row in table.read(asked)}) == [row.shard_id for row in rows]
    assert len(table.scan()) == 130


STEPS: dict[str, Callable[[Lease], Lease]] = {
    "taken": lambda row: steps.taken(row, PEER),
    "renewed": lambda row: steps.renewed(row, ME, NOW + timedelta(seconds=1)),
    "prepared": lambda row: steps.prepared(row, ME, Pending(Position.of(SIXTY_DIGITS + 9), "other")),
    "checkpointed": lambda row: steps.checkpointed(row, ME, Position.of(SIXTY_DIGITS + 1, 2), NOW),
    "ended": lambda row: steps.checkpointed(row, ME, SHARD_END, NOW, ("shardId-000000000011",)),
    "offered": lambda row: steps.handed_off(replace(row, checkpoint_owner=None), ME, NextOwner("peer")),
    "moved": lambda row: steps.handed_off(row, ME, None),
    "assigned": lambda row: steps.handed_off(replace(row, checkpoint_owner=None), ME, NextOwner("kcl", ours=False)),
    "released": lambda row: steps.handed_off(replace(row, checkpoint_owner=None), ME, None),
    "draining": lambda row: steps.marked_draining(steps.renewed(row, ME, NOW, 1.5), "next_owner"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("company", [0, 2], ids=["alone", "in company"])
def test_each_kind_of_change_is_written_exactly(table: LeaseTable, step: str, company: int) -> None:
    """The result is the new row, alone and among other changes, and a read agrees."""
    row = put(table, FULL)
    others = [put(table, replace(PLAIN, shard_id=f"shardId-00000000010{number}")) for number in range(company)]
    after = STEPS[step](row)
    written = table.write([Change(row, after), *(Change(other, steps.taken(other, ME)) for other in others)])
    assert written[0] == Written(after, done=True)
    assert all(answer.done for answer in written)
    assert one(table, row.shard_id) == after


SINCE: dict[str, Callable[[Lease], Lease]] = {
    "counter": lambda row: replace(row, counter=row.counter + 1),
    "owner": lambda row: replace(row, owner="peer"),
    "owner gone": lambda row: replace(row, owner=None),
    "checkpoint owner": lambda row: replace(row, checkpoint_owner="kcl"),
    "token": lambda row: replace(row, token=Token("me", "another start", row.counter)),
    "token gone": lambda row: replace(row, token=None),
}


@pytest.mark.parametrize("since", SINCE)
@pytest.mark.parametrize("company", [0, 2], ids=["alone", "in company"])
def test_a_changed_row_is_not_overwritten(table: LeaseTable, since: str, company: int) -> None:
    """A different counter, owner or token is enough to reject, and the result shows the current row."""
    seen = replace(FULL, checkpoint_owner=None, draining=False)
    stands = put(table, SINCE[since](seen))
    others = [put(table, replace(PLAIN, shard_id=f"shardId-00000000010{number}")) for number in range(company)]
    for after in (steps.renewed(seen, ME, None), steps.checkpointed(seen, ME, Position.of(SIXTY_DIGITS + 1), NOW)):
        answers = table.write(
            [Change(seen, after), *(Change(other, steps.renewed(other, ME, None)) for other in others)]
        )
        assert answers[0] == Written(stands, done=False)
    assert one(table, FULL.shard_id) == stands


@pytest.mark.parametrize("field", ["owner", "token"])
def test_a_row_that_got_an_owner_is_not_overwritten(table: LeaseTable, field: str) -> None:
    """A field that was missing must still be missing."""
    stands = put(table, replace(PLAIN, owner="peer", token=Token("peer", "b2", 0)))
    seen = replace(stands, **{field: None})  # type: ignore[arg-type]
    assert write(table, seen, steps.taken(seen, ME)) == Written(stands, done=False)
    assert one(table, PLAIN.shard_id) == stands


def test_a_deleted_row_is_not_created_again(table: LeaseTable) -> None:
    """A late owner may not know that the row was deleted."""
    assert write(table, PLAIN, steps.taken(PLAIN, ME)) == Written(None, done=False)
    assert list(table.scan()) == []


def test_changes_are_independent_of_each_other(table: LeaseTable) -> None:
    """A rejected renewal does not affect the others, and results have the order of the changes."""
    rows = [put(table, replace(PLAIN, shard_id=f"shardId-{number:012}", owner="me")) for number in range(60)]
    stale = {3, 26, 59}
    changes = [
        Change(row, steps.renewed(row, ME, NOW))
        for row in (replace(row, counter=9) if number in stale else row for number, row in enumerate(rows))
    ]
    answers = table.write(changes)
    assert {number for number, answer in enumerate(answers) if not answer.done} == stale
    assert [answer.row for answer in answers] == [
        rows[number] if number in stale else change.after for number, change in enumerate(changes)
    ]


def test_only_changed_fields_are_written(table: LeaseTable) -> None:
    """A request that arrived after the read stays on the row, and is part of the result."""
    row = put(table, replace(FULL, wanted_by=None))
    table.want(row, "peer")
    written = write(table, row, steps.renewed(row, ME, NOW))
    assert written.done
    assert written.row == replace(steps.renewed(row, ME, NOW), wanted_by="peer")


def test_a_request_changes_only_its_own_field(table: LeaseTable) -> None:
    """It is written only while the owner is unchanged and no other worker has requested the lease."""
    row = put(table, replace(FULL, wanted_by=None))
    table.want(replace(row, owner="peer"), "third")
    table.want(replace(row, owner=None), "third")
    assert one(table, row.shard_id) == row
    table.want(row, "peer")
    table.want(row, "third")
    assert one(table, row.shard_id) == replace(row, wanted_by="peer")


def test_a_request_for_a_free_lease_is_kept_and_one_without_a_row_creates_none(table: LeaseTable) -> None:
    """Neither does harm."""
    table.want(PLAIN, "peer")
    assert list(table.scan()) == []
    row = put(table, PLAIN)
    table.want(row, "peer")
    assert one(table, row.shard_id) == replace(row, wanted_by="peer")


def test_a_row_is_deleted_only_if_it_has_ended_and_is_unchanged(table: LeaseTable) -> None:
    """A shard with unread records keeps its row, and so does a row that was written meanwhile."""
    running = put(table, FULL)
    table.delete(running)
    table.delete(replace(running, checkpoint=SHARD_END))
    ended = put(table, replace(PLAIN, checkpoint=SHARD_END, counter=5))
    table.delete(replace(ended, counter=4))
    assert len(table.scan()) == 2
    table.delete(ended)
    table.delete(ended)
    assert list(table.scan()) == [running]


@pytest.mark.parametrize("company", [0, 2], ids=["alone", "in company"])
def test_an_ended_row_is_never_overwritten(table: LeaseTable, company: int) -> None:
    """Counter, owner and token do not matter."""
    seen = replace(FULL, pending=None, draining=False)
    stands = put(table, replace(seen, checkpoint=SHARD_END))
    others = [put(table, replace(PLAIN, shard_id=f"shardId-00000000010{number}")) for number in range(company)]
    for after in (
        steps.renewed(seen, ME, NOW),
        steps.checkpointed(seen, ME, Position.of(SIXTY_DIGITS + 1), NOW),
        steps.taken(seen, PEER),
    ):
        answers = table.write(
            [Change(seen, after), *(Change(other, steps.renewed(other, ME, None)) for other in others)]
        )
        assert answers[0] == Written(stands, done=False)
    assert one(table, FULL.shard_id) == stands


def test_the_end_of_a_shard_may_be_written_again(table: LeaseTable) -> None:
    """If the response was lost, the owner reads the row and repeats the write."""
    row = put(table, replace(FULL, checkpoint_owner=None))
    ended = steps.checkpointed(row, ME, SHARD_END, NOW)
    write(table, row, ended)
    again = write(table, row, ended)
    assert again == Written(ended, done=False)
    assert again.row is not None
    assert again.row.held_by(ME)
    assert write(table, again.row, steps.checkpointed(again.row, ME, SHARD_END, NOW)).done


def test_a_write_whose_response_was_lost_is_recognized(table: LeaseTable) -> None:
    """The repeated write is rejected with a row of this process and a higher counter."""
    row = put(table, replace(FULL, checkpoint_owner=None))
    after = steps.checkpointed(row, ME, Position.of(SIXTY_DIGITS + 1, 2), NOW)
    write(table, row, after)
    refused = write(table, row, after)
    assert refused == Written(after, done=False)
    assert refused.row is not None
    assert refused.row.held_by(ME)
    assert refused.row.counter > row.counter
    assert write(table, refused.row, steps.renewed(refused.row, ME, None)).done


# moto checks a condition and writes in two steps, so two threads of its server may both succeed.
@pytest.mark.parametrize("connect", [kind for kind in KINDS if kind != "moto"], indirect=True)
def test_exactly_one_of_many_takers_gets_each_lease(connect: Connect) -> None:
    """Workers with separate connections take the same rows at once."""
    first = connect()
    rows = [put(first, replace(PLAIN, shard_id=f"shardId-{number:012}")) for number in range(12)]
    workers = [WorkerIdentity(f"worker-{number}", "s") for number in range(4)]
    won: dict[str, list[str]] = {row.shard_id: [] for row in rows}
    start = threading.Barrier(len(workers))

    def take(worker: WorkerIdentity, table: LeaseTable, order: Sequence[Lease]) -> None:
        start.wait()
        for row in order:
            if write(table, row, steps.taken(row, worker)).done:
                won[row.shard_id].append(worker.worker_id)

    threads = [
        threading.Thread(target=take, args=(worker, connect(), rows[number:] + rows[:number]))
        for number, worker in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [len(winners) for winners in won.values()] == [1] * len(rows)
    assert {row.shard_id: [row.owner] for row in first.read(list(won))} == won


def test_two_connections_see_the_same_table(connect: Connect) -> None:
    """One reads what the other wrote, and rejects an outdated change."""
    mine, theirs = connect(), connect()
    row = put(mine, PLAIN)
    taken = steps.taken(row, ME)
    assert write(mine, row, taken).done
    assert one(theirs, row.shard_id) == taken
    assert write(theirs, row, steps.taken(row, PEER)) == Written(taken, done=False)
