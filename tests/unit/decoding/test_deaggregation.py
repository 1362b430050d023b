"""Deaggregate KPL records: either all user records or one dead letter."""

import hashlib
import json

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from consumer.decoding.aggregates import messages
from consumer.decoding.deaggregation import aggregate, deaggregate
from consumer.decoding.rejection import RecordRejected
from consumer.records import FULL_HASH_RANGE, DeadLetter, Position, Reason, Record, UserRecord
from tests.events import decode, event, letter
from tests.unit.decoding.outcomes import outcomes, pieces

MAGIC = b"\xf3\x89\x9a\xc2"
HALF = (0, 2**127 - 1)


def split(data: bytes, hash_range: tuple[int, int] = FULL_HASH_RANGE) -> tuple[list[UserRecord], int]:
    user_records, count, outside = deaggregate(Record(7, "outer", 1.5, data), hash_range)
    found = list(user_records)
    assert len(found) == count
    return found, outside


def sealed(message: bytes) -> bytes:
    """Return an aggregate of a protobuf message with the right digest."""
    return MAGIC + message + hashlib.md5(message).digest()


def field(number: int, value: bytes | int) -> bytes:
    """Return a field in protobuf's wire format. Only short values are supported."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def part(*, key: int | None = 0, explicit: int | None = None, data: bytes | None = b"x") -> bytes:
    numbers = [(1, key), (2, explicit), (3, data)]
    return field(3, b"".join(field(number, value) for number, value in numbers if value is not None))


@pytest.mark.parametrize("data", [b"", b"{}", MAGIC[:3], b"\xf3\x89\x9a\xc3" + bytes(40)])
def test_a_plain_record_is_one_user_record(data: bytes) -> None:
    """It does not start with the magic bytes."""
    assert split(data) == ([UserRecord(7, 0, "outer", 1.5, data)], 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (MAGIC, "the digest differs"),
        (MAGIC + bytes(16), "the digest differs"),
        (MAGIC + bytes(40), "the digest differs"),
        (aggregate([("k", b"x")])[:-1], "the digest differs"),
        (aggregate([("k", b"x"), ("k", b"y")])[:-20], "the digest differs"),
        (aggregate([("k", b"x"), ("é" * 257, b"y")]), "a partition key is longer than 256 characters"),
        (aggregate([("k" * 2**20, b"x")]), "a partition key is longer than 256 characters"),
        (sealed(b""), "it holds no user record"),
        (sealed(field(1, b"k")), "it holds no user record"),
        (sealed(b"\xff\xff\xff"), "the message does not parse"),
        (sealed(field(1, b"k") + part()[:-1]), "the message does not parse"),
        (sealed(field(1, b"k") + part(key=None)), "a user record lacks its data or its partition key"),
        (sealed(field(1, b"k") + part() + part(data=None)), "a user record lacks its data or its partition key"),
        (sealed(part()), "a user record names a key that is missing"),
        (sealed(field(1, b"k") + part() + part(key=1)), "a user record names a key that is missing"),
        (sealed(field(1, b"k") + part(explicit=0)), "a user record names a key that is missing"),
        (sealed(field(1, b"\xff") + part()), "a key is not UTF-8"),
        (sealed(field(1, b"k") + field(2, b"\xff") + part(explicit=0)), "a key is not UTF-8"),
    ],
)
def test_an_invalid_aggregate_is_one_dead_letter_with_the_whole_record(data: bytes, message: str) -> None:
    """No part of it becomes rows."""
    refused = letter(data)
    assert (refused.reason, refused.message) == (Reason.CORRUPT_AGGREGATE, message)
    assert (refused.data, refused.location.sub_sequence) == (data, 0)


def test_the_longest_partition_key_is_kept() -> None:
    """Kinesis counts characters, not bytes."""
    [only], _ = split(aggregate([("é" * 256, b"x")]))
    assert only.partition_key == "é" * 256


def test_tags_and_unknown_fields_are_ignored() -> None:
    """A later format may add fields."""
    data = sealed(field(1, b"k") + field(3, b"\x08\x00" + field(3, b"x") + field(4, field(1, b"t"))) + field(9, b"?"))
    assert split(data)[0] == [UserRecord(7, 0, "k", 1.5, b"x")]


def test_an_aggregate_inside_an_aggregate_is_not_an_event() -> None:
    """No library unpacks twice."""
    [refused] = decode(aggregate([("k", aggregate([("k", b"{}")]))]))
    assert getattr(refused, "reason", None) is Reason.NOT_JSON


def test_an_empty_user_record_is_a_dead_letter_beside_rows() -> None:
    """One bad user record does not affect the others."""
    usual = json.dumps(event()).encode()
    data = aggregate([("k", b""), ("k", usual), ("k", b"")])
    first, row, last = outcomes(data)
    assert isinstance(first, DeadLetter)
    assert isinstance(row, bytes)
    assert isinstance(last, DeadLetter)
    assert (first.data, pieces(data)[0].block.data, last.data) == (b"", [usual], b"")
    numbers = first.location.sub_sequence, json.loads(row)["sub_sequence_number"], last.location.sub_sequence
    assert numbers == (0, 1, 2)


@pytest.mark.parametrize(
    ("explicit", "outside"),
    [
        (b"0", 0),
        (str(2**127 - 1).encode(), 0),
        (str(2**127).encode(), 1),
        (b"9" * 90, None),
        (b"soon", None),
        ("٢".encode(), None),
        (b"-1", None),
    ],
)
def test_an_explicit_hash_key_wins_over_the_partition_key(explicit: bytes, outside: int | None) -> None:
    """Here it is not a 128-bit number, so the partition key counts."""
    for key in (b"a", b"b", b"c", b"d"):
        data = sealed(field(1, key) + field(2, explicit) + part(explicit=0))
        by_key = int(hashlib.md5(key).digest()[0] >= 128)
        assert split(data, HALF)[1] == (by_key if outside is None else outside)
        assert split(data)[1] == 0


def test_user_records_outside_of_the_shard_are_kept_and_counted() -> None:
    """Dropping them would lose those that a producer never sends again."""
    keys = [str(number) for number in range(40)]
    user_records, outside = split(aggregate([(key, key.encode()) for key in keys]), HALF)
    assert [one.partition_key for one in user_records] == keys
    assert outside == sum(hashlib.md5(key.encode()).digest()[0] >= 128 for key in keys)
    assert 0 < outside < 40


@pytest.mark.parametrize(("after", "left"), [(0, [1, 2]), (1, [2]), (2, []), (9, [])])
def test_checkpointed_user_records_are_left_out(after: int, left: list[int]) -> None:
    """This includes the position, and applies only to its own record."""
    data = aggregate([("k", b"x")] * 3)
    assert [getattr(one, "location").sub_sequence for one in decode(data, Position.of(7, after))] == left  # noqa: B009
    assert len(decode(data, Position.of(6, after))) == 3
    assert decode(data, Position.of(8, 0)) == []


user_records = st.lists(
    st.tuples(st.text(min_size=1, max_size=8), st.binary(max_size=40), st.none() | st.integers(0, 2**128 - 1).map(str)),
    min_size=1,
    max_size=8,
)


@given(user_records)
def test_aggregates_of_the_published_library_are_read(given: list[tuple[str, bytes, str | None]]) -> None:
    """aws_kinesis_agg writes them, and our own code those without an explicit hash key."""
    publisher = RecordAggregator()
    for key, data, explicit in given:
        publisher.add_user_record(key, data, explicit or hashed(key))
    _, _, record = publisher.clear_and_get().get_contents()
    found, outside = split(record, HALF)
    assert [(one.partition_key, one.data, one.sub_sequence) for one in found] == [
        (key, data, number) for number, (key, data, _) in enumerate(given)
    ]
    assert outside == sum(int(explicit or hashed(key)) > HALF[1] for key, _, explicit in given)
    assert split(aggregate([(key, data) for key, data, _ in given]))[0] == found


def hashed(key: str) -> str:
    return str(int.from_bytes(hashlib.md5(key.encode()).digest(), "big"))


@given(st.binary(max_size=60))
def test_splitting_agrees_with_protobuf(message: bytes) -> None:
    """Both reject the same messages, and ours also rejects an index that does not exist."""
    try:
        parsed = messages().AggregatedRecord.FromString(message)
        sound = parsed.IsInitialized() and len(parsed.records) > 0
    except Exception:
        sound = False
    try:
        found = split(sealed(message))[0]
    except RecordRejected:
        return
    assert sound
    assert [one.data for one in found] == [one.data for one in parsed.records]
