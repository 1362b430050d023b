"""Compare the rows of the fast path with those of the careful way. `tests.events.decode` uses both, too."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.decoding import made
from consumer.decoding import fast_path, voice_event
from schemas import examples, voice_api_request
from tests.events import each, event, json_values, spelled, with_payload, with_request, with_response
from tests.unit.decoding.fuzz import EVENTS, LIVE_LIKE, Both, fuzz

SAMPLE = examples.load("live-like-call-modified")
BOTH = Both()
ODD_TEXT = st.sampled_from(
    ["", "0", "12\n", "\u0662", "\ufeff", "\x00", "\ud7ff", "2026-11-23T09:15:42.131Z", "é" * 40]
)
ODD_NUMBERS = st.sampled_from([0, -1, 1.0, -0.0, 200.5, 1e300, 2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 10**40, True])
VALUES = json_values | ODD_TEXT | ODD_NUMBERS
SPELLINGS = [
    "1e999",
    "-1e999",
    "9" * 400,
    "1E2",
    "1.0",
    "-0",
    "[[]]",
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    "NaN",
]


def agree(data: bytes) -> bool:
    """Return whether the fast path has a row for the event. Check that the careful way then has the same line."""
    line = BOTH.fast(data)
    assert line is None or BOTH.careful(data) == line
    return line is not None


def test_events_of_twilio_take_the_fast_path() -> None:
    """Otherwise the fast path would be useless, and the benchmarks would measure the careful way."""
    assert len(LIVE_LIKE) == 3
    assert all(map(agree, EVENTS))
    for name, twiml in (("live-like-call-created", False), ("live-like-call-modified", True)):
        assert all(map(agree, made(name, twiml)))


@pytest.mark.parametrize(
    "document",
    [
        with_payload(requestDateCreated=None, timestamp=..., eventSid=...),
        with_payload(request={}, response={}),
        with_request(parameters={"StatusCallbackEvent": ["a", "b"], "To": "é\u2028"}),
        with_request(parameters={}),
        with_request(parameters={"SipAuthPassword": "a", "Url": "https://u:p@h"}, url="https://u:p@h/?a=%40"),
        with_response(responseCode=None, responseBody=None),
        with_response(responseBody="", contentType=None),
    ],
)
def test_usual_values_take_the_fast_path(document: dict[str, Any]) -> None:
    """Texts may have any content, and optional members may be missing."""
    assert agree(json.dumps(document).encode())
    assert agree(json.dumps(document, ensure_ascii=False, indent=1).encode())


@pytest.mark.parametrize(
    "document",
    [
        event(unknown=7),
        with_payload(unknown=None),
        with_request(unknown=[]),
        with_response(unknown="x"),
        event(data_base64=""),
        event(data_base64=None),
        event(id=""),
        event(data=[]),
        event(type="com.twilio.messaging.message.delivered", data={"sid": "a"}),
        event(specversion="2.0"),
        event(time="soon"),
        event(datacontenttype=""),
        event(dataschema="x"),
        with_payload(sid=""),
        with_payload(sid="CA1"),
        with_payload(request=[]),
        with_payload(request=None),
        with_payload(response=None),
        *[with_request(parameters=value) for value in each([], "a", 7, {"a": None}, {"a": 1}, {"a": [["b"]]})],
        *[with_response(responseCode=value) for value in each("200", 200.0, True, 2**63, -(2**63) - 1, 10**40)],
        *[with_response(responseBody=value) for value in each("%", "AAA", "77+9", "bm8=")],
        [event()],
    ],
)
def test_all_other_events_take_the_careful_way(document: Any) -> None:
    """A member that Twilio adds later costs time only."""
    assert not agree(json.dumps(document).encode())


@pytest.mark.parametrize("url", ["https://user:p/AC44444444/w@a.example/", "https://user:/AC44444444@a.example/"])
def test_a_password_is_no_account(url: str) -> None:
    """The account comes from the URL without its password, on both ways."""
    assert agree(json.dumps(with_request(url=url, parameters={"To": "a"})).encode())


def test_both_ways_agree_on_changed_events() -> None:
    """Many of them take the fast path. `make fuzz` tries more."""
    found = fuzz(50_000, seed=7)
    assert found.different == []
    assert found.fast > 10_000


def test_both_ways_declare_the_same_members() -> None:
    """The structs follow the models. The fast path does without data_base64."""
    declared: list[tuple[type[msgspec.Struct], Any, set[str]]] = [
        (voice_event.VoiceEvent, voice_api_request.VoiceApiRequest, set()),
        (voice_event.Payload, voice_api_request.WebhookEvent, set()),
        (voice_event.ApiRequest, voice_api_request.Request, set()),
        (voice_event.ApiResponse, voice_api_request.Response, set()),
        (fast_path._Event, voice_api_request.VoiceApiRequest, {"data_base64"}),
        (fast_path._Payload, voice_api_request.WebhookEvent, set()),
        (fast_path._Request, voice_api_request.Request, set()),
        (fast_path._Response, voice_api_request.Response, set()),
    ]
    for struct, contract, left_out in declared:
        assert {field.name for field in msgspec.structs.fields(struct)} | left_out == set(contract.__annotations__)


def members(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all members."""
    inner = value.items() if isinstance(value, dict) else ()
    return [found for name, item in inner for found in ((*place, name), *members(item, (*place, name)))]


PLACES = [*members(json.loads(SAMPLE)), ("data_base64",), ("data", "x"), ("data", "request", "parameters", "x")]


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return the sample with one member set."""
    document: dict[str, Any] = json.loads(SAMPLE)
    outer = document
    for name in place[:-1]:
        outer = outer[name]
    outer[place[-1]] = value
    return document


@given(st.sampled_from(PLACES), VALUES | st.dictionaries(st.text(max_size=5), VALUES | st.lists(VALUES, max_size=3)))
def test_both_ways_agree_on_any_value_of_a_member(place: tuple[Any, ...], value: Any) -> None:
    """Values have any type and depth."""
    agree(json.dumps(changed(place, value)).encode())


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", PLACES)
def test_both_ways_agree_on_any_spelling_of_a_value(place: tuple[Any, ...], spelling: str) -> None:
    """Examples are huge numbers, surrogates and deep nesting."""
    agree(spelled(changed(place, "@@"), unused=spelling).replace(b'"@@"', spelling.encode()))
    agree(json.dumps(changed(place, "@@")).encode().replace(b'"@@"', spelling.encode()))


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 9), st.binary(max_size=3)), max_size=3))
def test_both_ways_agree_on_damaged_bytes(edits: list[tuple[int, int, bytes]]) -> None:
    """Bytes are cut, overwritten or inserted."""
    data = SAMPLE
    for position, length, inserted in edits:
        data = data[:position] + inserted + data[position + length :]
    agree(data)


@given(st.sampled_from(PLACES), VALUES, VALUES)
def test_both_ways_agree_on_duplicate_members(place: tuple[Any, ...], first: Any, last: Any) -> None:
    """The last one counts."""
    name = json.dumps(place[-1])
    twice = f"{json.dumps(first)}, {name}: {json.dumps(last)}"
    agree(json.dumps(changed(place, "@@")).replace('"@@"', twice).encode())
