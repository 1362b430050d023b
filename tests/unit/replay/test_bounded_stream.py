"""Test that a stream ends at the bound, whatever the reader does."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from consumer.errors import ConfigurationError
from consumer.records import TRIM_HORIZON, Fetched, Position
from consumer.replay.bounded_stream import SLACK, BoundedStream
from consumer.streams.memory import MemoryStream
from tests.unit.clocks import FakeClock

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
END = NOON + timedelta(minutes=10)


class Counted(MemoryStream):
    """A stream that counts its reads."""

    reads = 0

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self.reads += 1
        return super().fetch(iterator, limit, patient)


class Bench:
    """A stream of one shard with a record each minute from noon on, and a reader of the bounded stream."""

    def __init__(self, minutes: Sequence[float], chosen: Collection[str] = (), shards: int = 1) -> None:
        self.clock = FakeClock(NOON.timestamp())
        self.inner = Counted("calls", shards, self.clock)
        self.numbers = [self.put(minute) for minute in minutes]
        self.bounded = BoundedStream(self.inner, END, chosen)
        shard, *_ = self.bounded.shards()
        self.shard_id = shard.shard_id

    def put(self, minute: float) -> int:
        self.clock.now = (NOON + timedelta(minutes=minute)).timestamp()
        return self.inner.put(b"data")

    def read(self, position: Position = TRIM_HORIZON, limit: int = 2) -> tuple[list[int], Fetched]:
        """Read until a response is at the tip or the end; return the sequence numbers, and that response."""
        numbers: list[int] = []
        iterator = self.bounded.open(self.shard_id, position)
        while True:
            fetched = self.bounded.fetch(iterator, limit)
            numbers += [record.sequence for record in fetched.records]
            if fetched.next_iterator is None or (not fetched.records and not fetched.millis_behind):
                return numbers, fetched
            iterator = fetched.next_iterator


def test_records_at_the_bound_or_later_are_left_out() -> None:
    """The end of the reading looks like the tip, and nothing more is requested from the service."""
    bench = Bench([1, 5, 9.99, 10, 11, 12])
    numbers, last = bench.read()
    assert numbers == bench.numbers[:3]
    assert last.millis_behind == 0
    assert last.next_iterator is not None
    reads = bench.inner.reads
    assert bench.bounded.fetch(last.next_iterator, 10).records == []
    assert bench.inner.reads == reads


def test_a_record_that_arrived_late_in_its_order_is_not_missed() -> None:
    """Arrival times grow with sequence numbers only roughly."""
    bench = Bench([9, 10.01, 9.99, 11])
    assert timedelta(minutes=0.01) < SLACK
    for limit in (1, 10):
        numbers, _ = bench.read(limit=limit)
        assert numbers == [bench.numbers[0], bench.numbers[2]]


def test_sizes_count_only_what_is_within_the_bound() -> None:
    """The memory budget is charged for them."""
    bench = Bench([9, 10, 11])
    fetched = bench.bounded.fetch(bench.bounded.open(bench.shard_id, TRIM_HORIZON), 10)
    assert fetched.size == len(b"data")


def test_a_reader_that_starts_over_gets_the_records_before_the_bound_again() -> None:
    """It may have dropped them after an error."""
    bench = Bench([1, 5, 9, 11, 12])
    bench.read()
    numbers, _ = bench.read(Position.of(bench.numbers[1]))
    assert numbers == bench.numbers[1:3]
    reads = bench.inner.reads
    numbers, _ = bench.read(Position.of(bench.numbers[2]))
    assert numbers == []
    assert bench.inner.reads == reads


def test_a_closed_shard_ends_at_the_bound_and_its_children_follow() -> None:
    """They reach the bound with their first record, and the whole replay can end."""
    bench = Bench([9, 11, 12])
    children = bench.inner.split(bench.shard_id)
    bench.bounded.shards()
    numbers, last = bench.read(limit=10)
    assert numbers == bench.numbers[:1]
    assert last.next_iterator is None
    assert {shard.shard_id for shard in last.children} == set(children)


def test_a_shard_that_is_closed_later_ends_then() -> None:
    """Its children would wait for it otherwise."""
    bench = Bench([9, 11])
    _, last = bench.read()
    bench.inner.split(bench.shard_id)
    bench.bounded.shards()
    assert last.next_iterator is not None
    assert bench.bounded.fetch(last.next_iterator, 1).next_iterator is None


def test_the_end_of_a_shard_before_the_bound_is_passed_on() -> None:
    """With its children."""
    bench = Bench([1, 2])
    bench.inner.split(bench.shard_id)
    numbers, last = bench.read(limit=10)
    assert numbers == bench.numbers
    assert last.next_iterator is None
    assert len(last.children) == 2


@pytest.mark.parametrize("closed", [False, True])
def test_a_shard_that_was_not_chosen_is_not_read(closed: bool) -> None:
    """It ends or is at its tip at once."""
    bench = Bench([1, 2], chosen=["shardId-000000000001"], shards=2)
    if closed:
        bench.inner.split(bench.shard_id)
        bench.bounded.shards()
    numbers, last = bench.read()
    assert numbers == []
    assert (last.next_iterator is None) == closed
    assert bench.inner.reads == 0


def test_a_chosen_shard_that_is_not_listed_ends_the_run() -> None:
    """Otherwise a replay with a wrong name would be complete at once. It may expire later, while the run ends."""
    with pytest.raises(ConfigurationError, match="--shard another: the stream does not list it; it lists shardId-0"):
        Bench([1], chosen=["another"])
    bench = Bench([1], chosen=["shardId-000000000000"])
    bench.inner.split(bench.shard_id)
    bench.inner.trim(bench.shard_id, 1)
    assert len(bench.bounded.shards()) == 2
