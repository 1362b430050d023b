"""Decode large records like small ones, within bounded memory."""

import base64
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
from consumer.decoding import aggregates, arrays, body
from consumer.decoding import dead_letter_limit as letters
from consumer.decoding import decoder as decoding
from consumer.decoding import event_decoder as event_decoding
from consumer.decoding import json_document as parsing
from consumer.decoding.deaggregation import aggregate
from consumer.decoding.warnings import Warnings
from consumer.records import DeadLetter, Reason, Skipped
from schemas.call_request import WarningCode
from tests.events import event, json_values
from tests.needs import need
from tests.unit.decoding.outcomes import Line, outcomes

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
    with (
        patch.object(arrays, "PIECE", piece),
        patch.object(aggregates, "SLICE", piece),
        patch.object(decoding, "LARGE", piece),
        patch.object(event_decoding, "LARGE", piece),
    ):
        yield


def told(found: list[Line | DeadLetter | Skipped]) -> list[Any]:
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
    assert [type(one) for one in found] == [DeadLetter, bytes]
    assert getattr(found[0], "reason", None) is reason


WIDE = "a" * 500 + "\U0001f600"  # four bytes a character as `str`


@pytest.mark.parametrize("text", [json.dumps(WIDE, ensure_ascii=False), json.dumps(WIDE), rf'"{WIDE}\ud800"'])
def test_an_event_with_too_much_text_is_a_dead_letter(text: str) -> None:
    """An escaped character takes as much memory as a plain one."""
    document = f'{EVENT[:-1]},"x":{text}}}'
    with patch.multiple(parsing, MOST_TEXT=2 * len(EVENT), MOST_VALUES=100):
        [found] = outcomes(document.encode())
    assert isinstance(found, DeadLetter)
    assert found.reason is Reason.INVALID_EVENT
    assert found.data == document.encode()


def test_an_event_of_another_type_with_too_much_text_is_skipped() -> None:
    """Its type is read without the rest."""
    data = json.dumps({"type": "other", "x": WIDE}, ensure_ascii=False).encode()
    with patch.multiple(parsing, MOST_TEXT=1000, MOST_VALUES=100):
        assert outcomes(data) == [Skipped("other")]


@pytest.mark.parametrize("raw", [False, True])
def test_an_event_whose_row_is_too_long_is_a_dead_letter(raw: bool) -> None:
    """With --raw the row includes the event. The fast path takes no event that could have such a row."""
    data = json.dumps(event(unknown=7)).encode()
    with patch.object(event_decoding, "LONGEST_ROW", len(data) + 200 if raw else 200):
        [found] = outcomes(data, raw)
    assert isinstance(found, DeadLetter)
    assert found.reason is Reason.INVALID_EVENT
    assert found.data == data


def test_a_json_body_that_takes_too_much_memory_stays_text() -> None:
    """It is in the row, but its members are not."""
    encoded = base64.b64encode(b'{"status":"queued"}').decode()
    warnings = Warnings()
    with patch.object(body, "LARGEST_JSON", 59):
        found = body.decode_body(encoded, "application/json", warnings)
    assert (found.text, found.kind, found.document) == ('{"status":"queued"}', "text", {})
    assert warnings == [WarningCode.BODY]


@given(st.text(st.sampled_from(["a", "é", "\ud800", "\udfff", "\ufffd", "\U0001f600"]), max_size=30), st.integers(1, 5))
def test_surrogates_are_replaced_in_pieces_as_in_a_whole(text: str, piece: int) -> None:
    """No other character changes."""
    data = f"{EVENT[:-1]},{json.dumps(text)}:0,{json.dumps('1' + text)}:1e999}}".encode()
    whole = outcomes(data)
    with patch.object(parsing, "TEXT_PIECE", piece):
        assert outcomes(data) == whole


def test_the_dead_letters_of_an_aggregate_are_limited_and_keep_all_bytes() -> None:
    """The last one contains the whole aggregate."""
    data = aggregate([("k", b"no")] * 50 + [("k", EVENT.encode())])
    with patch.object(letters, "MOST_BYTES", 4 * letters.LEAST_BYTES):
        *rest, row, last = outcomes(data)
    assert [type(one) for one in (*rest, row)] == [DeadLetter] * 3 + [bytes]
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
        "event wide and mended",
        "event with a wide URL",
        "URLs in parameters",
        "body of vertical tabs",
        "body in a code page",
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


@pytest.mark.parametrize("name", ["event with nothing but wide text", "event with a huge name", "body of quotes"])
def test_a_record_of_ten_mebibytes_adds_less_than_a_hundred_with_raw(name: str) -> None:
    """The row includes the event."""
    need(sys.platform == "linux", "/proc")
    assert measure(SHAPES[name](), "--raw").added < MOST_MIB


def test_each_shape_of_record_is_unique_and_large_enough() -> None:
    """The test data is valid."""
    assert len(SHAPES) == len(ARRAYS) + len(EVENTS) + len(BODIES) + len(AGGREGATES)
