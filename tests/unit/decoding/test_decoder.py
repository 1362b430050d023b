"""Decode any data into rows, skipped events and dead letters."""

import base64
import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from consumer.decoding import dead_letter_limit as letters
from consumer.decoding import decoder, event_decoder
from consumer.decoding.deaggregation import aggregate
from consumer.records import DeadLetter, Reason, Skipped
from schemas import examples
from schemas.call_request import CallRequest
from tests.events import (
    FAMILY,
    SID,
    decode,
    each,
    event,
    json_values,
    letter,
    row,
    spelled,
    with_payload,
    with_request,
    with_response,
)
from tests.unit.decoding.outcomes import outcomes, pieces
from tests.unit.example_rows import FOLDER, row_of

ROW = TypeAdapter(CallRequest)
EVENT = json.dumps(event()).encode()
DEEP = "[" * 100_000 + "]" * 100_000
SKIPPED = "com.twilio.messaging.message.delivered"
TEST_EVENT = "com.twilio.eventstreams.test-event"


@pytest.mark.parametrize("name", examples.names())
def test_every_example_becomes_its_expected_row(name: str) -> None:
    """The expected rows are in rows/ and valid by their schema. A skipped example names its type."""
    made = row_of(name)
    if "skipped" not in made:
        ROW.validate_json(json.dumps(made), strict=True)
    expected = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    assert made == expected
    assert list(made) == list(expected)


@pytest.mark.parametrize(("brackets", "kind"), [(199, dict), (200, DeadLetter)])
@pytest.mark.parametrize("inner", ["", "0", "{}"])
def test_an_event_has_at_most_200_levels(brackets: int, kind: type[Any], inner: str) -> None:
    """The event itself is the first level, and an empty object is the last one."""
    levels = brackets - (inner == "{}")
    [outcome] = decode(spelled(event(), x="[" * levels + inner + "]" * levels))
    assert isinstance(outcome, kind)


def test_every_expected_row_belongs_to_an_example() -> None:
    """A row whose example was removed is an error."""
    assert sorted(path.stem for path in FOLDER.iterdir()) == examples.names()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"  \n", Reason.NOT_JSON),
        (b"\xef\xbb\xbf", Reason.NOT_JSON),
        (b"\x00" * 8, Reason.NOT_JSON),
        (b"\xff\xfe{\x00}\x00", Reason.NOT_JSON),
        (json.dumps(event()).encode("utf-16"), Reason.NOT_JSON),
        (json.dumps(event(id="é"), ensure_ascii=False).encode("latin-1"), Reason.NOT_JSON),
        (gzip.compress(EVENT), Reason.NOT_JSON),
        (base64.b64encode(EVENT), Reason.NOT_JSON),
        (EVENT[:-20], Reason.NOT_JSON),
        (EVENT + b"}", Reason.NOT_JSON),
        (EVENT + b"\n" + EVENT, Reason.NOT_JSON),
        (EVENT.replace(b'"', b"'"), Reason.NOT_JSON),
        (EVENT.replace(b"}", b",}", 1), Reason.NOT_JSON),
        (EVENT + b"\x00", Reason.NOT_JSON),
        (b"not json", Reason.NOT_JSON),
        (b'{"a": NaN}', Reason.NOT_JSON),
        (spelled(event(), x="Infinity"), Reason.NOT_JSON),
        (spelled(event(), x="-Infinity"), Reason.NOT_JSON),
        (spelled(event(), x="nan"), Reason.NOT_JSON),
        (b"[" * 200_000, Reason.NOT_JSON),
        (DEEP.encode(), Reason.NOT_JSON),
        (spelled(event(), x=DEEP), Reason.NOT_JSON),
        (spelled(event(type=SKIPPED), data=DEEP), Reason.NOT_JSON),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, Reason.NOT_JSON),
        (b"[" * 400 + b"]" * 400, Reason.NOT_JSON),
        (b'["\\ud800",' + b"[" * 400 + b"]" * 401, Reason.NOT_JSON),
        (b"7", Reason.NOT_CLOUDEVENT),
        (b"null", Reason.NOT_CLOUDEVENT),
        (b'"text"', Reason.NOT_CLOUDEVENT),
        (b"true", Reason.NOT_CLOUDEVENT),
        (b"[]", Reason.NOT_CLOUDEVENT),
        (b"[[]]", Reason.NOT_CLOUDEVENT),
        (b"[" + b"[" + EVENT + b"]" + b"]", Reason.NOT_CLOUDEVENT),
        (b"[null]", Reason.NOT_CLOUDEVENT),
        (b"{}", Reason.NOT_CLOUDEVENT),
        *[
            (json.dumps(event(**{name: value})).encode(), Reason.NOT_CLOUDEVENT)
            for name in ("id", "source", "type")
            for value in each(..., None, "", 7, True, [], {}, ["a"])
        ],
        (json.dumps(event(id="", data=None)).encode(), Reason.NOT_CLOUDEVENT),
        *[
            (json.dumps(event(data=value)).encode(), Reason.INVALID_EVENT)
            for value in each(..., None, [], [{}], 7, True, "", "no json", "[]", "7", '"{}"', "{}", DEEP, '{"sid":""}')
        ],
        *[
            (json.dumps(with_payload(sid=value)).encode(), Reason.INVALID_EVENT)
            for value in each(..., None, "", 7, True, [SID], {})
        ],
        *[
            (json.dumps(event(data=..., data_base64=value)).encode(), Reason.INVALID_EVENT)
            for value in (
                "",
                "%",
                7,
                None,
                "é",
                base64.b64encode(b"[]").decode(),
                base64.b64encode(b"\x1f\x8b").decode(),
            )
        ],
    ],
)
def test_data_that_is_not_an_event_is_a_dead_letter_with_its_reason_and_bytes(data: bytes, reason: Reason) -> None:
    """The message contains nothing of the event."""
    refused = letter(data)
    assert (refused.reason, refused.data, refused.location.event_index) == (reason, data, 0)
    assert not any(value in refused.message for value in ("CA00", "AC5e", "1555", "VW00"))


@pytest.mark.parametrize("missing", ["id", "source"])
def test_a_dead_letter_names_the_missing_member(missing: str) -> None:
    """Its message has the name of the member."""
    assert letter(json.dumps(event(**{missing: ...})).encode()).message == f"missing, empty or not a string: {missing}"


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + EVENT, b" \r\n\t" + EVENT + b"\n", json.dumps(event(), indent=9).encode()]
)
def test_json_may_have_white_space_and_a_byte_order_mark(data: bytes) -> None:
    """The row is the same."""
    assert row(data) == row(EVENT)


@pytest.mark.parametrize(
    ("document", "skipped"),
    [
        (event(type=SKIPPED), SKIPPED),
        (event(type=f"{FAMILY}call.deleted"), f"{FAMILY}call.deleted"),
        (event(type=FAMILY), FAMILY),
        (event(type=f"{FAMILY}call.created "), event_decoder.INVALID_TYPE),
        (event(type=f"{FAMILY}Call.Created"), f"{FAMILY}Call.Created"),
        (
            event(type="com.twilio.voice.webhook.api-request.call.created"),
            "com.twilio.voice.webhook.api-request.call.created",
        ),
        (
            event(type="com.twilio.voice.insights.call-summary.complete"),
            "com.twilio.voice.insights.call-summary.complete",
        ),
        (event(type="com.twilio.error-logs.error.logged"), "com.twilio.error-logs.error.logged"),
        ({"type": SKIPPED}, SKIPPED),
        ({"type": SKIPPED, "id": 7, "source": None, "data": [1]}, SKIPPED),
        ({"type": TEST_EVENT, "data": '{"test_id":"a"}'}, TEST_EVENT),
        ({"type": TEST_EVENT, "data": {"test_id": "a"}}, TEST_EVENT),
        ({"type": "+15558675310"}, event_decoder.INVALID_TYPE),
        ({"type": "a" * 1000}, event_decoder.INVALID_TYPE),
    ],
)
def test_the_type_is_checked_first(document: dict[str, Any], skipped: str) -> None:
    """Other types are skipped without validation. A string that is not a type is not shown."""
    assert decode(json.dumps(document).encode()) == [Skipped(skipped)]


def test_the_last_of_duplicate_members_counts() -> None:
    """JSON libraries do the same."""
    assert row(EVENT.replace(b"{", b'{"id": 7, "type": "x",', 1)) == row(EVENT)


def test_raw_adds_the_original_event() -> None:
    """It includes secrets. The rest of the row is the same."""
    sample = json.loads(examples.load("live-like-call-created-rejected"))
    made = row({**sample, "extension": [2**70, 0.1, None]}, raw=True)
    assert made.pop("event") == {**sample, "extension": [2**70, 0.1, None]}
    assert made == row(sample)


def test_each_element_of_an_array_has_one_outcome() -> None:
    """A bad element is a dead letter with the whole user record; the others are rows."""
    data = json.dumps([event(), {}, event(type=SKIPPED), 7, [event()], event(id="b")]).encode()
    found: list[Any] = outcomes(data)
    assert [type(outcome).__name__ for outcome in found] == [
        "bytes",
        "DeadLetter",
        "Skipped",
        "DeadLetter",
        "DeadLetter",
        "bytes",
    ]
    assert [json.loads(found[index])["event_index"] for index in (0, 5)] == [0, 5]
    assert [found[index].location.event_index for index in (1, 3, 4)] == [1, 3, 4]
    assert [found[index].data for index in (1, 3, 4)] == [data] * 3
    assert [one for piece in pieces(data) for one in piece.block.data] == [data] * 2


def test_an_element_does_not_share_the_warnings_of_the_others() -> None:
    """Only warnings about the whole record appear with every element."""
    rows: list[Any] = decode(b"[" + json.dumps(event(time=...)).encode() + b"," + spelled(event(), x="1e999") + b"]")
    assert [made["warnings"] for made in rows] == [
        ["outsize-number", "odd-time"],
        ["outsize-number"],
    ]


def test_the_dead_letters_of_a_long_array_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each contains the whole array, so the last one stands for the rest."""
    monkeypatch.setattr(letters, "MOST_BYTES", 10_000)
    found: list[Any] = outcomes(b"[" + b"{}," * 1000 + b"7]")
    assert [outcome.location.event_index for outcome in found] == [0, 1, 2]
    assert found[-1].message.endswith("; so are 998 more of this array")
    assert not found[0].message.endswith("of this array")


def test_an_unforeseen_error_is_a_dead_letter_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It affects only one event."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a value of the event")

    unusual = json.dumps(event(unknown=7)).encode()
    for module, name in (
        (event_decoder, "flatten"),
        (event_decoder, "validate"),
        (event_decoder, "events"),
        (decoder, "deaggregate"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            refused = letter(unusual)
            assert (refused.reason, refused.message, refused.data) == (
                Reason.INTERNAL_ERROR,
                "ZeroDivisionError",
                unusual,
            )


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(with_response(responseBody=base64.b64encode(b"x" * 300_000).decode())).encode(),
        json.dumps(with_request(parameters={"a" * 300_000: "b" * 300_000})).encode(),
        json.dumps(with_request(url="https://" + "a:" * 150_000 + "@")).encode(),
        json.dumps(with_request(url="/AC" * 100_000)).encode(),
        json.dumps(event(source="/AC" + "a" * 300_000, dataschema="/" * 300_000, time="9" * 300_000)).encode(),
        json.dumps(event(data=json.dumps(event()["data"]) + " " * 300_000)).encode(),
        json.dumps(with_request(parameters="SipAuthPassword=" * 20_000)).encode(),
        spelled(event(), x="1" * 300_000),
        spelled(event(), x="0." + "1" * 300_000),
        json.dumps([event()] * 300).encode(),
        json.dumps([{}] * 20_000).encode(),
        json.dumps({"a": [[]] * 100_000}).encode(),
    ],
)
def test_a_long_record_takes_linear_time(data: bytes) -> None:
    """A third of a megabyte takes seconds even on a slow machine."""
    began = time.process_time()
    assert decode(data)
    assert time.process_time() - began < 5


@given(
    st.lists(
        st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()) | st.just(EVENT),
        min_size=1,
        max_size=4,
    )
)
def test_the_counts_add_up_for_any_bytes(parts: list[bytes]) -> None:
    """Each user record becomes rows, skipped events or dead letters, and never an exception."""
    for data in (*parts, aggregate([("k", part) for part in parts])):
        count = sum(piece.user_records for piece in pieces(data))
        found: list[Any] = outcomes(data)
        numbers = {json.loads(one)["sub_sequence_number"] for one in found if isinstance(one, bytes)}
        numbers |= {one.location.sub_sequence for one in found if isinstance(one, DeadLetter)}
        assert numbers <= set(range(count))
        assert len(found) >= count
        assert all(isinstance(outcome, bytes | DeadLetter | Skipped) for outcome in found)
        assert not any(getattr(outcome, "reason", None) is Reason.INTERNAL_ERROR for outcome in found)
