"""What becomes of whatever is on the stream."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from consumer.pipeline.deaggregation import aggregate
from consumer.pipeline.decoding import Decoder
from consumer.records import TRIM_HORIZON, DeadLetter, Position, Reason, Record, Row, Shard, Skipped
from schemas import examples
from schemas.call_request import CallRequest

ROW = TypeAdapter(CallRequest)
TYPE = "com.twilio.voice.api-request.call.created"


def decode(data: bytes, after: Position = TRIM_HORIZON) -> list[Any]:
    return list(Decoder("stream", Shard("shard"))(Record(7, "key", 1.7e9, data), after).outcomes)


def event(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = json.loads(examples.load("live-like-call-created"))
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def row(**changes: Any) -> dict[str, Any]:
    [outcome] = decode(json.dumps(event(**changes)).encode())
    assert isinstance(outcome, Row), outcome
    decoded: dict[str, Any] = json.loads(outcome.line)
    return decoded


@pytest.mark.parametrize("name", ["documented-call-created", "documented-call-modified"])
def test_twilios_documented_examples_are_rows_with_warnings(name: str) -> None:
    """A time in datacontenttype, no time, SIDs of odd lengths: accepted."""
    [outcome] = decode(examples.load(name))
    assert json.loads(outcome.line)["warnings"] == ["odd-time", "odd-datacontenttype", "odd-sid"]
    assert json.loads(outcome.line)["twiml_verbs"] == ["Say", "Pause", "Redirect"]


@pytest.mark.parametrize("name", examples.names())
def test_every_example_is_a_valid_row_or_skipped(name: str) -> None:
    """The samples are never dead letters."""
    for outcome in decode(examples.load(name)):
        assert isinstance(outcome, Row | Skipped)
        if isinstance(outcome, Row):
            ROW.validate_json(outcome.line, strict=True)


def test_secrets_do_not_reach_the_row() -> None:
    """The URL's password and SipAuthPassword are hidden."""
    [outcome] = decode(examples.load("live-like-call-created-rejected"))
    assert b"never-in-a-log" not in outcome.line
    assert json.loads(outcome.line)["request_parameters"]["SipAuthPassword"] == "***"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"\x1f\x8b\x08", Reason.NOT_JSON),
        (b'{"a": NaN}', Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        (b"[" * 200_000, Reason.NOT_JSON),
        (b"[]", Reason.NOT_CLOUDEVENT),
        (b"7", Reason.NOT_CLOUDEVENT),
        (json.dumps(event(id="")).encode(), Reason.NOT_CLOUDEVENT),
        (json.dumps(event(id=7)).encode(), Reason.NOT_CLOUDEVENT),
        (json.dumps(event(source=...)).encode(), Reason.NOT_CLOUDEVENT),
        (json.dumps(event(type=...)).encode(), Reason.NOT_CLOUDEVENT),
        (json.dumps(event(data=None)).encode(), Reason.INVALID_EVENT),
        (json.dumps(event(data=[])).encode(), Reason.INVALID_EVENT),
        (json.dumps(event(data={"sid": ""})).encode(), Reason.INVALID_EVENT),
        (json.dumps(event(data="no json")).encode(), Reason.INVALID_EVENT),
        (b"\xf3\x89\x9a\xc2" + bytes(40), Reason.CORRUPT_AGGREGATE),
    ],
)
def test_what_is_no_event_is_a_dead_letter_with_its_reason(data: bytes, reason: Reason) -> None:
    """One dead letter, with the bytes."""
    [letter] = decode(data)
    assert (letter.reason, letter.data) == (reason, data)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"time": ...}, "odd-time"),
        ({"specversion": "0.3"}, "odd-specversion"),
        ({"datacontenttype": 7}, "odd-datacontenttype"),
        ({"dataschema": ...}, "odd-dataschema"),
        ({"dataschema": "https://events-schemas.twilio.com/Voice.WebhookEvent/9"}, "unknown-schema-version"),
        ({"data": json.dumps({"sid": "CA" + "0" * 32})}, "data-is-a-string"),
        ({"data": {"sid": "CA1"}}, "odd-sid"),
        ({"data": {"sid": "CA" + "0" * 32, "request": "no"}}, "odd-field"),
        ({"data": {"sid": "CA" + "0" * 32, "response": {"responseCode": "soon"}}}, "odd-field"),
        ({"data": {"sid": "CA" + "0" * 32, "response": {"responseBody": "%%%"}}}, "odd-body"),
    ],
)
def test_an_oddity_is_a_warning_and_never_costs_the_row(changes: dict[str, Any], warning: str) -> None:
    """The row is there, and says what was odd."""
    assert warning in row(**changes)["warnings"]


def test_an_array_is_one_outcome_an_element() -> None:
    """A bad element is one dead letter, its siblings are rows."""
    outcomes = decode(json.dumps([event(), {}, event(id="b")]).encode())
    assert [type(outcome) for outcome in outcomes] == [Row, DeadLetter, Row]
    assert [outcome.place.event_index for outcome in outcomes] == [0, 1, 2]


def test_a_half_done_aggregate_goes_on_behind_its_checkpoint() -> None:
    """User records up to the checkpoint are left out; the sub-sequence number is the place in the aggregate."""
    data = aggregate([("k", json.dumps(event(id=str(n))).encode()) for n in range(4)])
    outcomes = decode(data, after=Position.of(7, 1))
    assert [outcome.place.sub_sequence for outcome in outcomes] == [2, 3]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_arrive_each_record_leaves_a_trace(data: bytes) -> None:
    """Rows, skipped or dead letters: never nothing, never an exception."""
    outcomes = decode(data)
    assert outcomes
    assert all(isinstance(outcome, Row | DeadLetter | Skipped) for outcome in outcomes)


FIELDS = ["specversion", "time", "datacontenttype", "dataschema", "data"]
PAYLOAD = ["requestDateCreated", "timestamp", "eventSid", "request", "response"]


@given(
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3),
    st.dictionaries(st.sampled_from(PAYLOAD), json_values, max_size=4),
)
def test_odd_fields_make_valid_rows_or_dead_letters(envelope: dict[str, Any], payload: dict[str, Any]) -> None:
    """Whatever the optional fields hold, a row is valid by its schema and its line is one line of JSON."""
    odd = event(**{**{"data": {"sid": "CA1", **payload}}, **envelope})
    for outcome in decode(json.dumps(odd).encode()):
        if isinstance(outcome, Row):
            assert b"\n" not in outcome.line
            ROW.validate_python(msgspec.json.decode(outcome.line))
        else:
            assert isinstance(outcome, DeadLetter)
            assert outcome.reason is not Reason.INTERNAL_ERROR
