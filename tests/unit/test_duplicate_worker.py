"""Recognize two processes with the same worker id: an old process writes no more, a live duplicate does."""

from dataclasses import replace

import pytest

from consumer.errors import ConfigurationError
from consumer.fleet.duplicate_worker import DuplicateWorker
from consumer.leases import Lease, WorkerIdentity
from consumer.leases import lease as steps
from consumer.records import SHARD_END

RENEWAL = 3.0
FIRST, SECOND = WorkerIdentity("me", "1"), WorkerIdentity("me", "2")  # the process with the greater start ends
OTHER = WorkerIdentity("other", "0")


def held(by: WorkerIdentity, shard_id: str = "shard", beats: int = 0) -> Lease:
    row = steps.taken(Lease(shard_id), by)
    for _ in range(beats):
        row = steps.renewed(row, by, None)
    return row


def settled(me: WorkerIdentity) -> DuplicateWorker:
    """Return a worker that has run for some time."""
    namesakes = DuplicateWorker(me, RENEWAL)
    assert namesakes.settle_in([]) == 0.0
    assert namesakes.settled_in
    return namesakes


def test_the_second_of_two_live_duplicates_ends_and_the_first_continues() -> None:
    """Both see rows of the other change, and exactly one of them ends."""
    first, second = settled(FIRST), settled(SECOND)
    for beats in range(3):
        first.watch([held(SECOND, beats=beats)])
    second.watch([held(FIRST, beats=0)])
    with pytest.raises(ConfigurationError, match="another live worker has the id 'me'"):
        second.watch([held(FIRST, beats=1)])


def test_a_new_duplicate_ends_whatever_its_token() -> None:
    """It came later."""
    late = DuplicateWorker(FIRST, RENEWAL)
    late.watch([held(SECOND, beats=0)])
    with pytest.raises(ConfigurationError, match="--worker-id"):
        late.watch([held(SECOND, beats=1)])


def test_of_three_duplicates_only_the_smallest_continues() -> None:
    """One live duplicate with a smaller token is enough."""
    middle = settled(SECOND)
    third = WorkerIdentity("me", "3")
    middle.watch([held(third, "a"), held(FIRST, "b")])
    with pytest.raises(ConfigurationError):
        middle.watch([held(third, "a", 1), held(FIRST, "b", 1)])
    middle = settled(SECOND)
    middle.watch([held(third, "a"), held(FIRST, "b")])
    middle.watch([held(third, "a", 1), held(FIRST, "b")])  # the smaller one writes no more: it is dead


def test_an_old_process_with_our_id_is_no_reason_to_end() -> None:
    """Its rows never change."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    for _ in range(5):
        namesakes.watch([held(FIRST, beats=4)])


@pytest.mark.parametrize(
    "rows",
    [
        [held(SECOND), held(SECOND, beats=1)],  # our own
        [held(OTHER), held(OTHER, beats=1)],  # a peer's
        [replace(held(FIRST), counter=8), replace(held(FIRST), counter=9)],  # written by a KCL since
        [replace(held(FIRST), owner="other"), replace(held(FIRST, beats=1), owner="other")],  # offered to a peer
    ],
)
def test_rows_of_other_workers_are_ignored(rows: list[Lease]) -> None:
    """Only rows that a process with our id owns and wrote last count."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    for row in rows:
        namesakes.watch([row])


def test_a_row_seen_for_the_first_time_did_not_change() -> None:
    """This includes a row that was missing in between."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    namesakes.watch([held(FIRST, "a", 1)])
    namesakes.watch([held(FIRST, "b", 5)])
    namesakes.watch([held(FIRST, "a", 3)])


def test_rows_that_name_us_are_waited_for_one_and_a_half_renewals() -> None:
    """A live duplicate must write within that time. Ended shards are not waited for."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    assert namesakes.settle_in([held(FIRST)]) == 1.5 * RENEWAL
    assert not namesakes.settled_in
    assert namesakes.settle_in([held(FIRST)]) == 0.0
    assert namesakes.settled_in


@pytest.mark.parametrize("row", [held(OTHER), Lease("shard"), steps.checkpointed(held(FIRST), FIRST, SHARD_END)])
def test_without_rows_that_name_us_there_is_no_wait(row: Lease) -> None:
    """A new worker starts at once."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    assert namesakes.settle_in([row]) == 0.0
    assert namesakes.settled_in
