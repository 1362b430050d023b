"""What every lease table promises, held against all of them: memory, SQLite, and whatever speaks DynamoDB."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.leases import Change, Lease, LeaseTable, NextOwner, Pending, Token, WorkerIdentity, Written
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
)


def put(table: LeaseTable, lease: Lease) -> Lease:
    """Make a row stand exactly so."""
    table.create(lease)
    return one(table, lease.shard_id)


def one(table: LeaseTable, shard_id: str) -> Lease:
    [row] = table.read([shard_id])
    return row


def write(table: LeaseTable, before: Lease, after: Lease) -> Written:
    [written] = table.write([Change(before, after)])
    return written


def test_a_new_table_is_empty(table: LeaseTable) -> None:
    """Nothing of ours is in it before the first lease; checking it again changes nothing."""
    table.check()
    assert list(table.scan()) == []
    assert list(table.read([PLAIN.shard_id])) == []
    assert not table.assignees()
    assert not table.unreadable()


@pytest.mark.parametrize("lease", [PLAIN, FULL, replace(PLAIN, checkpoint=LATEST, started_at=NOW)], ids=str)
def test_a_row_is_found_as_it_was_made(table: LeaseTable, lease: Lease) -> None:
    """Every field: numbers of sixty digits, instants to the microsecond, what is absent stays absent."""
    table.create(lease)
    assert list(table.scan()) == [lease]
    assert list(table.read([lease.shard_id])) == [lease]


def test_making_a_row_twice_leaves_the_first(table: LeaseTable) -> None:
    """Two workers that see the same new shard do no harm."""
    table.create(FULL)
    table.create(replace(FULL, owner=None, counter=0, token=None, checkpoint=TRIM_HORIZON))
    assert one(table, FULL.shard_id) == FULL


def test_reading_answers_with_the_rows_that_exist(table: LeaseTable) -> None:
    """However many are asked for, and in whatever order they come."""
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
    "offered": lambda row: steps.handed_on(replace(row, checkpoint_owner=None), ME, NextOwner("peer")),
    "moved": lambda row: steps.handed_on(row, ME, None),
    "assigned": lambda row: steps.handed_on(replace(row, checkpoint_owner=None), ME, NextOwner("kcl", ours=False)),
    "released": lambda row: steps.handed_on(replace(row, checkpoint_owner=None), ME, None),
    "draining": lambda row: steps.departing(steps.renewed(row, ME, NOW, 1.5), "next_owner"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("company", [0, 2], ids=["alone", "in company"])
def test_each_step_of_a_lease_is_written_as_it_is_decided(table: LeaseTable, step: str, company: int) -> None:
    """The answer is the row as it stands, and so is what is read afterwards; alone or among other changes."""
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
def test_a_row_that_has_changed_since_is_not_written(table: LeaseTable, since: str, company: int) -> None:
    """Each of counter, owners and token alone is enough to refuse; the answer shows the row as it stands."""
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
def test_a_row_that_has_become_somebodys_since_is_not_written(table: LeaseTable, field: str) -> None:
    """What was absent when it was seen has to be absent still."""
    stands = put(table, replace(PLAIN, owner="peer", token=Token("peer", "b2", 0)))
    seen = replace(stands, **{field: None})  # type: ignore[arg-type]
    assert write(table, seen, steps.taken(seen, ME)) == Written(stands, done=False)
    assert one(table, PLAIN.shard_id) == stands


def test_a_row_that_is_gone_is_not_made_again(table: LeaseTable) -> None:
    """A late write of an owner who does not know that the row was tidied away."""
    assert write(table, PLAIN, steps.taken(PLAIN, ME)) == Written(None, done=False)
    assert list(table.scan()) == []


def test_each_change_stands_alone(table: LeaseTable) -> None:
    """Of many renewals the refused ones cost the others nothing; answers come in the order of the changes."""
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


def test_only_what_differs_is_written(table: LeaseTable) -> None:
    """A wish that came since the row was seen stays on it, and is in the answer."""
    row = put(table, replace(FULL, wanted_by=None))
    table.want(row, "peer")
    written = write(table, row, steps.renewed(row, ME, NOW))
    assert written.done
    assert written.row == replace(steps.renewed(row, ME, NOW), wanted_by="peer")


def test_a_wish_is_written_and_is_no_heartbeat(table: LeaseTable) -> None:
    """It changes one field, and only while the owner is as seen and nobody else has wished."""
    row = put(table, replace(FULL, wanted_by=None))
    table.want(replace(row, owner="peer"), "third")
    table.want(replace(row, owner=None), "third")
    assert one(table, row.shard_id) == row
    table.want(row, "peer")
    table.want(row, "third")
    assert one(table, row.shard_id) == replace(row, wanted_by="peer")


def test_a_wish_for_a_free_lease_is_kept_and_makes_no_row(table: LeaseTable) -> None:
    """Without an owner there is nobody to ask, but no harm; without a row there is nothing to wish for."""
    table.want(PLAIN, "peer")
    assert list(table.scan()) == []
    row = put(table, PLAIN)
    table.want(row, "peer")
    assert one(table, row.shard_id) == replace(row, wanted_by="peer")


def test_a_row_goes_when_it_has_ended_and_stands_as_seen(table: LeaseTable) -> None:
    """Neither a shard with unread records nor a row that somebody has written to meanwhile is tidied away."""
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
def test_an_ended_row_stays_ended(table: LeaseTable, company: int) -> None:
    """Even where counter, owner and token are as seen: nothing overwrites SHARD_END."""
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
    """When the answer to it was lost, its owner finds the row as it left it and makes the write again."""
    row = put(table, replace(FULL, checkpoint_owner=None))
    ended = steps.checkpointed(row, ME, SHARD_END, NOW)
    write(table, row, ended)
    again = write(table, row, ended)
    assert again == Written(ended, done=False)
    assert again.row is not None
    assert again.row.held_by(ME)
    assert write(table, again.row, steps.checkpointed(again.row, ME, SHARD_END, NOW)).done


def test_a_write_whose_answer_was_lost_is_recognised(table: LeaseTable) -> None:
    """The same write again is refused, and shows a row of this very process, one further than it thought."""
    row = put(table, replace(FULL, checkpoint_owner=None))
    after = steps.checkpointed(row, ME, Position.of(SIXTY_DIGITS + 1, 2), NOW)
    write(table, row, after)
    refused = write(table, row, after)
    assert refused == Written(after, done=False)
    assert refused.row is not None
    assert refused.row.held_by(ME)
    assert refused.row.counter > row.counter
    assert write(table, refused.row, steps.renewed(refused.row, ME, None)).done


# moto checks a condition and writes in two steps, so two threads of its server may both find it true.
@pytest.mark.parametrize("connect", [kind for kind in KINDS if kind != "moto"], indirect=True)
def test_one_of_many_takers_gets_each_lease(connect: Connect) -> None:
    """Workers that reach for the same rows at the same instant, each with a connection of its own."""
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


def test_two_connections_see_one_table(connect: Connect) -> None:
    """What one worker writes the other reads at once, and refuses what the first has overtaken."""
    mine, theirs = connect(), connect()
    row = put(mine, PLAIN)
    taken = steps.taken(row, ME)
    assert write(mine, row, taken).done
    assert one(theirs, row.shard_id) == taken
    assert write(theirs, row, steps.taken(row, PEER)) == Written(taken, done=False)
