"""Two processes under one worker id: the former life of one, which stands still, and a live one, which moves."""

from dataclasses import replace

import pytest

from consumer.errors import ConfigurationError
from consumer.fleet.duplicate_worker import DuplicateWorker
from consumer.leases import Lease, WorkerIdentity
from consumer.leases import lease as steps
from consumer.records import SHARD_END

RENEWAL = 3.0
FIRST, SECOND = WorkerIdentity("me", "1"), WorkerIdentity("me", "2")  # the one with the greater start gives way
OTHER = WorkerIdentity("other", "0")


def held(by: WorkerIdentity, shard_id: str = "shard", beats: int = 0) -> Lease:
    row = steps.taken(Lease(shard_id), by)
    for _ in range(beats):
        row = steps.renewed(row, by, None)
    return row


def settled(me: WorkerIdentity) -> DuplicateWorker:
    """One that has been at work for some time."""
    namesakes = DuplicateWorker(me, RENEWAL)
    assert namesakes.settle_in([]) == 0.0
    assert namesakes.settled_in
    return namesakes


def test_the_second_of_two_live_duplicates_gives_way_and_the_first_goes_on() -> None:
    """Both have settled in and see rows of the other that move: one of them ends, and one only."""
    first, second = settled(FIRST), settled(SECOND)
    for beats in range(3):
        first.watch([held(SECOND, beats=beats)])
    second.watch([held(FIRST, beats=0)])
    with pytest.raises(ConfigurationError, match="another live worker has the id 'me'"):
        second.watch([held(FIRST, beats=1)])


def test_one_that_has_not_settled_in_gives_way_to_any() -> None:
    """It came later, whatever the two drew."""
    late = DuplicateWorker(FIRST, RENEWAL)
    late.watch([held(SECOND, beats=0)])
    with pytest.raises(ConfigurationError, match="--worker-id"):
        late.watch([held(SECOND, beats=1)])


def test_of_three_only_the_smallest_stays() -> None:
    """It is enough that one of those that move is smaller."""
    middle = settled(SECOND)
    third = WorkerIdentity("me", "3")
    middle.watch([held(third, "a"), held(FIRST, "b")])
    with pytest.raises(ConfigurationError):
        middle.watch([held(third, "a", 1), held(FIRST, "b", 1)])
    middle = settled(SECOND)
    middle.watch([held(third, "a"), held(FIRST, "b")])
    middle.watch([held(third, "a", 1), held(FIRST, "b")])  # the smaller one stands still: it is dead


def test_a_former_life_stands_still_and_is_no_reason() -> None:
    """However often it is looked at."""
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
def test_rows_of_others_are_none_of_its_business(rows: list[Lease]) -> None:
    """Only rows that a process under our id owns and wrote last tell of one."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    for row in rows:
        namesakes.watch([row])


def test_a_row_seen_for_the_first_time_does_not_count_as_moved() -> None:
    """Nor one that was gone in between."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    namesakes.watch([held(FIRST, "a", 1)])
    namesakes.watch([held(FIRST, "b", 5)])
    namesakes.watch([held(FIRST, "a", 3)])


def test_rows_that_name_us_are_waited_for_once_and_for_one_and_a_half_renewals() -> None:
    """So long a live duplicate has to show itself; what has ended is not waited for."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    assert namesakes.settle_in([held(FIRST)]) == 1.5 * RENEWAL
    assert not namesakes.settled_in
    assert namesakes.settle_in([held(FIRST)]) == 0.0
    assert namesakes.settled_in


@pytest.mark.parametrize("row", [held(OTHER), Lease("shard"), steps.checkpointed(held(FIRST), FIRST, SHARD_END)])
def test_without_rows_that_name_us_nothing_is_waited_for(row: Lease) -> None:
    """A new worker begins at once."""
    namesakes = DuplicateWorker(SECOND, RENEWAL)
    assert namesakes.settle_in([row]) == 0.0
    assert namesakes.settled_in
