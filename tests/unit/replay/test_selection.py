"""Test which rows the filters of a replay choose."""

import json
import re
from collections import deque

import pytest

from consumer.decoding.decoder import Decoder
from consumer.errors import ConfigurationError
from consumer.records import TRIM_HORIZON, Block, Decoded, Record, Shard
from consumer.replay.selection import SelectingDecode, Selection
from tests.events import event_id, numbered_event

ROW = {"event_type": "com.twilio.call", "resource_sid": "CA01", "from_address": "+15550001", "to_address": "sip:a[b]@c"}


def matches(*only: str, **changes: object) -> bool:
    """Return whether the filters choose a row."""
    line = json.dumps({**ROW, "other": [1], **changes}).encode() + b"\n"
    decoded = Decoded(Block(line, 1), (), (), 1, 1, 0, 1, TRIM_HORIZON, 0.0)
    return len(Selection(only).select(decoded).block) == 1


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        (["type=com.twilio.call"], True),
        (["type=com.twilio"], False),
        (["type=com.*"], True),
        (["sid=CA02", "sid=CA01"], True),
        (["sid=CA01", "type=other"], False),
        (["sid=CA01", "type=*call"], True),
        (["address=+15550001"], True),
        (["address=sip:a[b]*"], True),
        (["address=sip:ab@c"], False),
        (["address=+1555????"], False),
        (["address=*"], True),
    ],
    ids=str,
)
def test_one_value_of_each_field_has_to_match(only: list[str], chosen: bool) -> None:
    """Only the star has a meaning. An address is that of either side."""
    assert matches(*only) == chosen


def test_a_row_without_an_address_matches_none() -> None:
    assert not matches("address=*", from_address=None, to_address=None)


@pytest.mark.parametrize("text", ["type", "type=", "=x", "body=x", ""])
def test_another_filter_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("--only: say type=VALUE, sid=VALUE or address=VALUE")):
        Selection([text])


def decoded(keep_data: bool, *only: str) -> Decoded:
    """Return what three records become, of which the last is no event."""
    data = [numbered_event(0), numbered_event(1), b"no event"]
    records = deque(Record(number, "key", 1.7e9, item) for number, item in enumerate(data, 1))
    decode = SelectingDecode(Decoder("calls", Shard("shard"), keep_data=keep_data), Selection(only))
    [found] = decode(records, TRIM_HORIZON, 100)
    return found


@pytest.mark.parametrize("keep_data", [True, False])
def test_rows_that_are_left_out_count_as_skipped(keep_data: bool) -> None:
    """The original bytes of the others stay with them, and the checkpoint passes all records."""
    sid = json.loads(numbered_event(1))["data"]["sid"]
    found = decoded(keep_data, f"sid={sid}")
    [row] = map(json.loads, found.block.lines.splitlines())
    assert row["event_id"] == event_id(1)
    assert len(found.block) == 1
    assert list(found.block.data) == ([numbered_event(1)] if keep_data else [])
    assert len(found.skipped) == 1
    assert found.records == 3
    assert found.last.sequence == 3


def test_dead_letters_are_left_out() -> None:
    """What does not decode matches no filter."""
    found = decoded(True, "type=*")
    assert len(found.block) == 2
    assert not found.dead_letters
    assert not found.skipped
