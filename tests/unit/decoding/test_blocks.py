"""Decode records into blocks of rows: which records share one, where it ends, and what it counts."""

import base64
import json
from collections import deque
from collections.abc import Sequence

import pytest

from consumer.decoding.block_draft import ENOUGH_BYTES, MOST_EVENTS
from consumer.decoding.deaggregation import aggregate
from consumer.decoding.decoder import Decoder
from consumer.decoding.event_decoder import LARGE
from consumer.records import TRIM_HORIZON, Block, Decoded, Position, Record, Shard
from schemas import examples
from tests.events import event_ids, numbered_event, with_response

USUAL = examples.load("live-like-call-modified")


def record(number: int, data: bytes) -> Record:
    return Record(number, "key", 1.7e9 + number, data)


def usual(count: int) -> list[Record]:
    """Return records for the fast path."""
    return [record(number, USUAL) for number in range(1, count + 1)]


def one_block(records: Sequence[Record], most: int = 1000, after: Position = TRIM_HORIZON) -> tuple[Decoded, int]:
    """Return the first block of some records, and how many records it took."""
    backlog = deque(records)
    [decoded] = Decoder("stream", Shard("shard"))(backlog, after, most)
    return decoded, len(records) - len(backlog)


def sequences(block: Block) -> list[int]:
    return [int(json.loads(line)["sequence_number"]) for line in block.lines.splitlines()]


def test_small_records_share_a_block() -> None:
    """It says where its first and its last record are, and when the last one arrived."""
    decoded, taken = one_block(usual(5))
    assert (taken, len(decoded.block), sequences(decoded.block)) == (5, 5, [1, 2, 3, 4, 5])
    assert (decoded.first, decoded.last, decoded.arrived_at) == (1, Position.of(5), 1.7e9 + 5)
    assert (decoded.records, decoded.user_records, decoded.out_of_range) == (5, 5, 0)


@pytest.mark.parametrize(("most", "taken"), [(1, 1), (3, 3), (MOST_EVENTS + 9, MOST_EVENTS)])
def test_a_block_has_no_more_rows_than_asked_for(most: int, taken: int) -> None:
    """The batch limit of the sink is exact for plain records."""
    assert one_block(usual(100), most)[1] == taken


def test_an_aggregate_is_never_divided() -> None:
    """A checkpoint falls on whole Kinesis records."""
    whole = aggregate([("key", USUAL)] * 10)
    decoded, taken = one_block([record(1, whole), record(2, whole)], most=3)
    assert (taken, len(decoded.block), decoded.last) == (1, 10, Position.of(1, 9))


def test_unusual_records_keep_their_place_in_a_block() -> None:
    """Rows of the careful way stand between those of the fast path."""
    records = [record(1, USUAL), record(2, numbered_event(2)), record(3, USUAL), record(4, numbered_event(4))]
    decoded, _ = one_block(records)
    assert sequences(decoded.block) == [1, 2, 3, 4]
    assert [json.loads(line)["event_id"] for line in decoded.block.lines.splitlines()][1::2] == event_ids([2, 4])


def test_records_without_a_row_are_counted_in_the_block() -> None:
    """A dead letter and a skipped event count as events, so that a block of them ends, too."""
    skipped = json.dumps({"type": "com.example.other"}).encode()
    decoded, taken = one_block([record(1, b"no"), record(2, skipped), record(3, USUAL), record(4, USUAL)], most=3)
    assert (taken, len(decoded.block), decoded.skipped) == (3, 1, ["com.example.other"])
    assert [letter.location.sequence for letter in decoded.dead_letters] == [1]
    assert decoded.records == 3


def test_records_up_to_the_checkpoint_are_left_out() -> None:
    """They were delivered before."""
    backlog, decoder = deque(usual(5)), Decoder("stream", Shard("shard"))
    found = [piece for _ in range(2) for piece in decoder(backlog, Position.of(2, 0), 1000)]
    assert [sequences(piece.block) for piece in found] == [[3, 4, 5]]


def test_an_aggregate_continues_after_the_checkpoint() -> None:
    """KCL may checkpoint within a record."""
    whole = aggregate([("key", USUAL)] * 4)
    decoded, _ = one_block([record(7, whole)], after=Position.of(7, 1))
    assert [json.loads(line)["sub_sequence_number"] for line in decoded.block.lines.splitlines()] == [2, 3]
    assert (decoded.user_records, decoded.last) == (4, Position.of(7, 3))


def test_a_large_record_is_decoded_alone() -> None:
    """Its events come piece by piece. Only the first piece counts it."""
    array = json.dumps([json.loads(USUAL)] * 200).encode()
    assert len(array) > LARGE
    backlog = deque([record(1, USUAL), record(2, array), record(3, USUAL)])
    decoder = Decoder("stream", Shard("shard"))
    [first] = decoder(backlog, TRIM_HORIZON, 1000)
    assert (first.records, len(first.block)) == (1, 1)
    pieces = list(decoder(backlog, TRIM_HORIZON, 1000))
    assert [len(piece.block) for piece in pieces] == [64, 64, 64, 8]
    assert [piece.records for piece in pieces] == [1, 0, 0, 0]
    assert {piece.last for piece in pieces} == {Position.of(2)}
    assert [one.sequence for one in backlog] == [3]


def test_a_long_row_has_a_block_for_itself() -> None:
    """A sink can then write it with bounded memory."""
    body = base64.b64encode(b"x" * ENOUGH_BYTES).decode()
    long = with_response(contentType="text/plain", responseBody=body)
    small = json.loads(USUAL)
    array = json.dumps([small, small, long, small]).encode()
    pieces = Decoder("stream", Shard("shard"))(deque([record(1, array)]), TRIM_HORIZON, 1000)
    assert [len(piece.block) for piece in pieces] == [2, 1, 1]


@pytest.mark.parametrize("keep", [True, False])
def test_blocks_keep_the_bytes_of_each_row_if_wanted(keep: bool) -> None:
    """Only a sink that rejects rows needs them."""
    whole = aggregate([("key", USUAL), ("key", numbered_event(2))])
    backlog = deque([record(1, USUAL), record(2, whole), record(3, numbered_event(3))])
    [decoded] = Decoder("stream", Shard("shard"), keep_data=keep)(backlog, TRIM_HORIZON, 1000)
    data = [USUAL, USUAL, numbered_event(2), numbered_event(3)]
    assert list(decoded.block.data) == (data if keep else [])
