"""Decode large records like small ones, within bounded memory."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.large_records import measure
from benchmarks.shapes import AGGREGATES, ARRAYS, BODIES, EVENTS, SHAPES, sealed
from consumer.decoding import aggregates, arrays
from consumer.decoding import dead_letter_limit as letters
from consumer.decoding import json_document as parsing
from consumer.decoding.deaggregation import aggregate
from consumer.decoding.decoder import Decoder
from consumer.records import TRIM_HORIZON, DeadLetter, Outcome, Reason, Record, Row, Shard
from tests.needs import need
from tests.unit.events import event, json_values

MOST_MIB = 100
EVENT = json.dumps(event())
TEXTS = st.sampled_from(
    [
        EVENT,
        "{}",
        "0",
        "[]",
        " ",
        "",
        '"a,]"',
        r'"\\"',
        r'"\ud800"',
        "1e999",
        "[" * 40 + "]" * 40,
        '{"type":"a"}',
        "[1",
        "]",
        "}",
    ]
)
ENDS = st.sampled_from(["]", "", "]]", "] "])
ELEMENTS = TEXTS | json_values.map(json.dumps)


@contextmanager
def small(piece: int) -> Iterator[None]:
    """Set pieces and slices to a few bytes, so that small records are treated as large ones."""
    with patch.object(arrays, "PIECE", piece), patch.object(aggregates, "SLICE", piece):
        yield


def outcomes(data: bytes) -> list[Outcome]:
    """Return the outcomes of a record."""
    return list(Decoder("stream", Shard("shard"))(Record(7, "key", 1.7e9, data), TRIM_HORIZON).outcomes)


def told(found: list[Outcome]) -> list[Any]:
    """Return outcomes without the message of a rejected record, which depends on where decoding stopped."""
    return [(one.reason, one.location, one.data) if isinstance(one, DeadLetter) else one for one in found]


@given(
    st.lists(ELEMENTS, max_size=12),
    st.sampled_from([",", " , ", ",\n"]),
    st.integers(1, 300),
    st.sampled_from(["]", "", "]]", "] "]),
)
def test_an_array_in_pieces_has_the_same_outcomes_as_a_whole(
    elements: list[str], comma: str, piece: int, end: str
) -> None:
    """Pieces may end anywhere, and elements may be torn."""
    data = f"[{comma.join(elements)}{end}".encode("utf-8", "surrogatepass")
    whole = outcomes(data)
    with small(piece):
        assert told(outcomes(data)) == told(whole)


@given(st.binary(max_size=40) | st.text(alphabet='[]{},:"\\0 ', max_size=40).map(str.encode), st.integers(1, 20))
def test_an_invalid_array_in_pieces_has_the_same_outcome_as_a_whole(garbage: bytes, piece: int) -> None:
    """It is one dead letter either way."""
    for data in (b"[" + garbage, b"[" + garbage + b"]", b"\xef\xbb\xbf [" + garbage + b"]"):
        whole = outcomes(data)
        with small(piece):
            assert told(outcomes(data)) == told(whole)


@given(st.lists(st.binary(max_size=20) | TEXTS.map(str.encode), min_size=1, max_size=8), st.integers(1, 60))
def test_an_aggregate_in_slices_has_the_same_outcomes_as_a_whole(parts: list[bytes], piece: int) -> None:
    """Its user records are the same, too."""
    data = aggregate([(f"key-{number % 3}", part) for number, part in enumerate(parts)])
    whole = outcomes(data)
    with small(piece):
        assert told(outcomes(data)) == told(whole)


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_message_in_slices_is_parsed_as_a_whole(message: bytes, piece: int) -> None:
    """Protobuf is the reference."""
    data = sealed(message)
    whole = outcomes(data)
    with small(piece):
        assert told(outcomes(data)) == told(whole)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'[{"x":[%b0]},%b]' % (b"0," * 500, EVENT.encode()), Reason.NOT_CLOUDEVENT),
        (b"[[%b0],%b]" % (b"0," * 500, EVENT.encode()), Reason.NOT_CLOUDEVENT),
        (b"[%b,%b]" % (json.dumps(event(x=[0] * 500)).encode(), EVENT.encode()), Reason.INVALID_EVENT),
    ],
)
def test_an_event_with_too_many_values_is_one_dead_letter_beside_rows(data: bytes, reason: Reason) -> None:
    """Only an event that cannot be bounded is rejected."""
    many = parsing._MANY_VALUES.pattern.replace(b"100000", b"400")
    with small(200), patch.multiple(parsing, MOST_VALUES=400, _MANY_VALUES=re.compile(many, re.DOTALL)):
        found = outcomes(data)
    assert [type(one) for one in found] == [DeadLetter, Row]
    assert getattr(found[0], "reason", None) is reason


def test_the_dead_letters_of_an_aggregate_are_limited_and_keep_all_bytes() -> None:
    """The last one contains the whole aggregate."""
    data = aggregate([("k", b"no")] * 50 + [("k", EVENT.encode())])
    with patch.object(letters, "MOST_BYTES", 4 * letters.LEAST_BYTES):
        *rest, row, last = outcomes(data)
    assert [type(one) for one in (*rest, row)] == [DeadLetter] * 3 + [Row]
    assert isinstance(last, DeadLetter)
    assert last.data == data
    assert "so are 46 more" in last.message


@pytest.mark.parametrize(
    "name",
    [
        "array of empty objects",
        "array of smallest events",
        "array of deep arrays",
        "array of two huge objects",
        "event with millions of parameters",
        "body of nested XML",
        "body of empty arrays",
        "aggregate of arrays of 100 KiB",
        "aggregate of events and garbage",
        "aggregate with many longer keys",
        "aggregate with many tags",
    ],
)
def test_a_record_of_ten_mebibytes_adds_less_than_a_hundred(name: str) -> None:
    """This counts from its bytes to the files, for every shape."""
    need(sys.platform == "linux", "/proc")
    assert measure(SHAPES[name]()).added < MOST_MIB


def test_each_shape_of_record_is_unique_and_large_enough() -> None:
    """The test data is valid."""
    assert len(SHAPES) == len(ARRAYS) + len(EVENTS) + len(BODIES) + len(AGGREGATES)
