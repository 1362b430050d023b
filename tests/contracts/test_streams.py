"""Hold every stream to the contract: memory, kinesis-local, moto."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumer.errors import IteratorExpired, ShardGone, StreamUnavailable
from consumer.records import LATEST, TRIM_HORIZON, Fetched, Position, Record, Shard
from consumer.shard.listing import complete
from consumer.streams import Stream
from consumer.streams.kinesis import KinesisStream, kinesis_client
from consumer.streams.memory import ITERATOR_LIFE, MOST_BYTES, MemoryStream
from tests.integration import workers
from tests.unit.clocks import FakeClock

KINDS = ("memory", "kinesis-local", "moto")
NUMBERS = itertools.count(1)
MOST = 10_000


@dataclass
class Source:
    """A new stream of two shards, as a worker reads it, and as producers and operators change it."""

    stream: Stream
    put: Callable[[bytes, Shard], object]
    split: Callable[[Shard], object]
    ends: bool = True  # whether a closed shard reaches its end

    @property
    def shards(self) -> list[Shard]:
        return sorted(self.stream.shards(), key=lambda shard: (shard.starting_sequence, shard.hash_range))

    def read(self, shard: Shard, position: Position, limit: int = MOST, answers: int = 30) -> list[Record]:
        """Read up to the tip or the end. Keep duplicates."""
        records: list[Record] = []
        for fetched in self.fetches(shard, position, limit, answers):
            records += fetched.records
            if fetched.millis_behind == 0 and not fetched.records:
                break
        return records

    def fetches(self, shard: Shard, position: Position, limit: int = MOST, answers: int = 30) -> Iterator[Fetched]:
        """Fetch until there is no next iterator."""
        iterator: str | None = self.stream.open(shard.shard_id, position)
        while iterator is not None and answers:
            fetched = self.stream.fetch(iterator, limit)
            yield fetched
            iterator, answers = fetched.next_iterator, answers - 1


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    if request.param == "memory":
        memory = MemoryStream("calls", 2)
        yield Source(
            memory,
            lambda data, shard: memory.put(data, shard_id=shard.shard_id),
            lambda shard: memory.split(shard.shard_id),
        )
        return
    server = "moto_server" if request.param == "moto" else "kinesis_local_server"
    yield from _remote(request.getfixturevalue(server), ends=request.param != "moto")


def _remote(url: str, ends: bool) -> Iterator[Source]:
    name = f"contract-{next(NUMBERS)}"
    client = workers.kinesis_client(url)
    client.create_stream(StreamName=name, ShardCount=2)
    _active(client, name)
    stream = KinesisStream(name, kinesis_client(name, "us-east-1", url, 2))

    def put(data: bytes, shard: Shard) -> None:
        key = str(shard.hash_range[0])
        client.put_record(StreamName=name, Data=data, PartitionKey="key", ExplicitHashKey=key)

    def split(shard: Shard) -> None:
        middle = str(sum(shard.hash_range) // 2)
        client.split_shard(StreamName=name, ShardToSplit=shard.shard_id, NewStartingHashKey=middle)
        _active(client, name)

    yield Source(stream, put, split, ends)
    stream.close()
    client.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    client.close()


def _active(client: Any, name: str) -> None:
    while client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.05)


def test_a_stream_is_active_and_has_a_creation_time(source: Source) -> None:
    """The time stays the same, and tells it from another stream of that name."""
    summary = source.stream.summary()
    assert summary.active
    assert summary.created_at == source.stream.summary().created_at
    assert abs(summary.created_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert abs(summary.server_time - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_listing_is_complete_and_names_each_shard_once(source: Source) -> None:
    """Open shards cover all hash keys."""
    shards = source.shards
    assert complete(shards)
    assert len({shard.shard_id for shard in shards}) == len(shards) == 2
    assert not any(shard.closed or shard.parents for shard in shards)


def test_records_arrive_in_order_with_their_bytes(source: Source) -> None:
    """Sequence numbers increase, and the arrival time is known."""
    shard = source.shards[0]
    data = [bytes([number, 255, 0]) for number in range(5)]
    for each in data:
        source.put(each, shard)
    records = source.read(shard, TRIM_HORIZON)
    assert [record.data for record in records] == data
    assert [record.sequence for record in records] == sorted({record.sequence for record in records})
    assert all(abs(record.arrived_at - time.time()) < 300 for record in records)
    assert records[0].partition_key == "key"


def test_a_sequence_number_opens_at_its_own_record(source: Source) -> None:
    """An aggregate that was read in part can then be read again."""
    shard = source.shards[0]
    for number in range(4):
        source.put(bytes([number]), shard)
    records = source.read(shard, TRIM_HORIZON)
    assert source.read(shard, Position.of(records[2].sequence)) == records[2:]


def test_latest_and_a_time_open_at_the_right_record(source: Source) -> None:
    """LATEST returns later records only, and a time returns records that arrived since."""
    shard = source.shards[0]
    source.put(b"before", shard)
    iterator = source.stream.open(shard.shard_id, LATEST)
    source.put(b"after", shard)
    assert [record.data for record in source.stream.fetch(iterator, MOST).records] == [b"after"]
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    assert [record.data for record in source.read(shard, Position.at_timestamp(long_ago))] == [b"before", b"after"]


def test_a_response_has_at_most_the_requested_number_of_records(source: Source) -> None:
    """The next iterator continues after them."""
    shard = source.shards[0]
    for number in range(5):
        source.put(bytes([number]), shard)
    sizes = [len(fetched.records) for fetched in source.fetches(shard, TRIM_HORIZON, limit=2, answers=4)]
    assert sizes == [2, 2, 1, 0]
    assert [record.data for record in source.read(shard, TRIM_HORIZON, limit=2)] == [bytes([n]) for n in range(5)]


def test_a_response_at_the_tip_is_empty_with_lag_0_and_a_next_iterator(source: Source) -> None:
    """The shard is open, and the next iterator finds later records."""
    shard = source.shards[0]
    source.put(b"one", shard)
    first, second = source.fetches(shard, TRIM_HORIZON, answers=2)
    assert (len(first.records), first.size) == (1, 3)
    assert (list(second.records), second.millis_behind) == ([], 0)
    assert second.next_iterator is not None
    source.put(b"two", shard)
    assert [record.data for record in source.stream.fetch(second.next_iterator, MOST).records] == [b"two"]


def test_an_unknown_shard_is_gone(source: Source) -> None:
    """The shard reader finds out whether it has ended."""
    with pytest.raises(ShardGone):
        source.stream.open("shardId-000000000099", TRIM_HORIZON)


def test_an_invalid_iterator_leads_to_a_new_one(source: Source) -> None:
    """Emulators raise different errors, and all of them mean that the shard must be opened again."""
    with pytest.raises((IteratorExpired, StreamUnavailable)):
        source.stream.fetch("nonsense", MOST)


def test_a_closed_shard_is_listed_with_its_children(source: Source) -> None:
    """Children name their parent, and cover its hash keys."""
    parent, other = source.shards
    source.split(parent)
    shards = source.shards
    children = [shard for shard in shards if shard.parents == (parent.shard_id,)]
    assert {shard.shard_id: shard.closed for shard in shards if shard not in children} == {
        parent.shard_id: True,
        other.shard_id: False,
    }
    assert (min(children, key=lambda child: child.hash_range).hash_range[0], len(children)) == (parent.hash_range[0], 2)
    assert complete(shards)


def test_a_closed_shard_ends_with_no_iterator_and_its_children(source: Source) -> None:
    """This comes after its last record. An emulator that never ends a shard keeps responding."""
    parent = source.shards[0]
    for number in range(3):
        source.put(bytes([number]), parent)
    source.split(parent)
    answers = list(source.fetches(parent, TRIM_HORIZON, limit=2, answers=6))
    assert [record.data for answer in answers for record in answer.records] == [bytes([n]) for n in range(3)]
    if not source.ends:
        assert answers[-1].next_iterator is not None
        return
    assert answers[-1].next_iterator is None
    assert not any(answer.children for answer in answers[:-1])
    listed = {shard.shard_id: shard for shard in source.shards if parent.shard_id in shard.parents}
    assert {child.shard_id: child.parents for child in answers[-1].children} == {
        name: (parent.shard_id,) for name in listed
    }
    assert {child.hash_range for child in answers[-1].children} == {shard.hash_range for shard in listed.values()}


# Only the in-memory stream: emulators would take hours, or do not do this ---------------------------------------------


def test_an_iterator_is_valid_for_five_minutes() -> None:
    """Then it has expired."""
    clock = FakeClock()
    stream = MemoryStream("calls", clock=clock)
    iterator = stream.open(stream.shards()[0].shard_id, TRIM_HORIZON)
    clock.advance(ITERATOR_LIFE)
    stream.fetch(iterator, MOST)
    clock.advance(1.0)
    with pytest.raises(IteratorExpired):
        stream.fetch(iterator, MOST)


def test_trimmed_records_are_left_out_and_an_empty_closed_shard_is_gone() -> None:
    """An iterator before the trim horizon continues there."""
    stream = MemoryStream("calls")
    [shard] = stream.shards()
    numbers = [stream.put(bytes([number])) for number in range(3)]
    iterator = stream.open(shard.shard_id, Position.of(numbers[0]))
    stream.trim(shard.shard_id, 2)
    assert [record.sequence for record in stream.fetch(iterator, MOST).records] == numbers[2:]
    stream.split(shard.shard_id)
    stream.trim(shard.shard_id, 1)
    with pytest.raises(ShardGone):
        stream.fetch(iterator, MOST)
    assert complete(stream.shards())


def test_a_response_has_at_most_10_mib_and_its_lag() -> None:
    """The lag is in milliseconds since the next record arrived."""
    clock = FakeClock()
    stream = MemoryStream("calls", clock=clock)
    for _ in range(3):
        stream.put(bytes(MOST_BYTES // 2))
    clock.advance(4.0)
    iterator: str | None = stream.open(stream.shards()[0].shard_id, TRIM_HORIZON)
    assert iterator is not None
    first = stream.fetch(iterator, MOST)
    assert (len(first.records), first.size, first.millis_behind) == (2, MOST_BYTES, 4000)


def test_a_merge_has_one_child_of_two_parents() -> None:
    """Both parents name it."""
    stream = MemoryStream("calls", 2)
    one, other = (shard.shard_id for shard in stream.shards())
    [child] = stream.merge(one, other)
    for parent in (one, other):
        fetched = stream.fetch(stream.open(parent, TRIM_HORIZON), MOST)
        assert [(each.shard_id, each.parents) for each in fetched.children] == [(child, (one, other))]
