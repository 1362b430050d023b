"""Test two processes with one worker id: an earlier one that has ended, and a live one whose counters move."""

from dataclasses import replace

import pytest

from consumer.errors import ConfigurationError
from consumer.fleet.duplicate_worker import DuplicateWorker
from consumer.leases import Lease, WorkerIdentity
from consumer.leases import lease as steps
from consumer.records import SHARD_END

SETTLING = 4.5
FIRST, SECOND = WorkerIdentity("me", "1"), WorkerIdentity("me", "2")  # the one with the greater start must end
OTHER = WorkerIdentity("other", "0")


def held(by: WorkerIdentity, shard_id: str = "shard", renewals: int = 0) -> Lease:
    row = steps.taken(Lease(shard_id), by)
    for _ in range(renewals):
        row = steps.renewed(row, by, None)
    return row


def settled(me: WorkerIdentity) -> DuplicateWorker:
    """Return one that has settled in."""
    duplicates = DuplicateWorker(me, SETTLING)
    assert duplicates.settle_in([]) == 0.0
    assert duplicates.settled_in
    return duplicates


def test_the_second_of_two_live_duplicates_ends_and_the_first_continues() -> None:
    """Both have settled in and see that rows of the other move. Exactly one of them must end."""
    first, second = settled(FIRST), settled(SECOND)
    for renewals in range(3):
        first.watch([held(SECOND, renewals=renewals)])
    second.watch([held(FIRST, renewals=0)])
    with pytest.raises(ConfigurationError, match="another live worker has the id 'me'"):
        second.watch([held(FIRST, renewals=1)])


def test_a_process_that_has_not_settled_in_ends_whatever_its_start_is() -> None:
    """It came later."""
    late = DuplicateWorker(FIRST, SETTLING)
    late.watch([held(SECOND, renewals=0)])
    with pytest.raises(ConfigurationError, match="--worker-id"):
        late.watch([held(SECOND, renewals=1)])


def test_of_three_duplicates_only_the_smallest_start_continues() -> None:
    """One live duplicate with a smaller start is enough to end."""
    middle = settled(SECOND)
    third = WorkerIdentity("me", "3")
    middle.watch([held(third, "a"), held(FIRST, "b")])
    with pytest.raises(ConfigurationError):
        middle.watch([held(third, "a", 1), held(FIRST, "b", 1)])
    middle = settled(SECOND)
    middle.watch([held(third, "a"), held(FIRST, "b")])
    middle.watch([held(third, "a", 1), held(FIRST, "b")])  # the smaller one has ended: its counter stands still


def test_an_earlier_process_that_has_ended_is_no_duplicate() -> None:
    """However often its row is seen."""
    duplicates = DuplicateWorker(SECOND, SETTLING)
    for _ in range(5):
        duplicates.watch([held(FIRST, renewals=4)])


@pytest.mark.parametrize(
    "rows",
    [
        [held(SECOND), held(SECOND, renewals=1)],  # our own
        [held(OTHER), held(OTHER, renewals=1)],  # a peer's
        [replace(held(FIRST), counter=8), replace(held(FIRST), counter=9)],  # written by a KCL since
        [replace(held(FIRST), owner="other"), replace(held(FIRST, renewals=1), owner="other")],  # offered to a peer
    ],
)
def test_rows_that_no_duplicate_holds_are_ignored(rows: list[Lease]) -> None:
    """Only a row that a process with our worker id owns and wrote last shows a duplicate."""
    duplicates = DuplicateWorker(SECOND, SETTLING)
    for row in rows:
        duplicates.watch([row])


def test_a_row_seen_for_the_first_time_does_not_count_as_moved() -> None:
    """Nor does one that the last scan lacked."""
    duplicates = DuplicateWorker(SECOND, SETTLING)
    duplicates.watch([held(FIRST, "a", 1)])
    duplicates.watch([held(FIRST, "b", 5)])
    duplicates.watch([held(FIRST, "a", 3)])


def test_rows_with_our_worker_id_delay_the_start_once() -> None:
    """A live duplicate renews in that time."""
    duplicates = DuplicateWorker(SECOND, SETTLING)
    assert duplicates.settle_in([held(FIRST)]) == SETTLING
    assert not duplicates.settled_in
    assert duplicates.settle_in([held(FIRST)]) == 0.0
    assert duplicates.settled_in


@pytest.mark.parametrize("row", [held(OTHER), Lease("shard"), steps.checkpointed(held(FIRST), FIRST, SHARD_END)])
def test_without_rows_with_our_worker_id_a_worker_starts_at_once(row: Lease) -> None:
    """Ended rows do not count."""
    duplicates = DuplicateWorker(SECOND, SETTLING)
    assert duplicates.settle_in([row]) == 0.0
    assert duplicates.settled_in
