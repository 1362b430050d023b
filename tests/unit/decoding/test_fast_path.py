"""Compare the fast path with the full one. `tests.events.decode` uses both, too."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decoding.fast_path import ApiRequest, ApiResponse, Event, Payload, decode_fast, from_document
from consumer.decoding.json_document import parse
from consumer.decoding.validation import validate
from consumer.decoding.warnings import Warnings
from schemas import examples, voice_api_request
from tests.events import each, event, json_values, spelled, with_payload, with_request, with_response

SAMPLE = examples.load("live-like-call-modified")
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
    """Return whether the fast path accepted the event.

    Check that the full path then gives the same event without warnings.
    """
    quick = decode_fast(data)
    if quick is not None:
        odd = Warnings()
        document = parse(data, odd)
        assert isinstance(document, dict)
        careful = from_document(validate(document, odd))
        assert (quick, msgspec.json.encode(quick)) == (careful, msgspec.json.encode(careful))  # 1 == 1.0 == True
        assert odd == []
    return quick is not None


@pytest.mark.parametrize(
    "name", [name for name in examples.names() if name.startswith(("live-like-call", "documented"))]
)
def test_events_of_twilio_take_the_fast_path(name: str) -> None:
    """Otherwise the fast path would be useless."""
    assert agree(examples.load(name))


@pytest.mark.parametrize(
    "document",
    [
        with_payload(request=None, response=None),
        with_payload(requestDateCreated=None, timestamp=..., eventSid=...),
        with_request(parameters={"StatusCallbackEvent": ["a", "b"], "To": "é\u2028"}),
        with_request(parameters={}),
        with_response(responseCode=None, responseBody=None),
        event(type="com.twilio.messaging.message.delivered", data={"sid": "a"}),
        event(specversion="2.0", time="soon", datacontenttype="", dataschema="x", data_base64=None),
    ],
)
def test_members_that_only_flattening_reads_take_the_fast_path(document: dict[str, Any]) -> None:
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
        event(id=""),
        event(data=[]),
        with_payload(sid=""),
        with_payload(request=[]),
        *[with_request(parameters=value) for value in each([], "a", 7, {"a": None}, {"a": 1}, {"a": [["b"]]})],
        *[with_response(responseCode=value) for value in each("200", 200.0, True, 2**63, -(2**63) - 1, 10**40)],
        [event()],
    ],
)
def test_all_other_events_take_the_full_path(document: Any) -> None:
    """A member that Twilio adds later costs time only."""
    assert decode_fast(json.dumps(document).encode()) is None


def test_both_paths_declare_the_same_members() -> None:
    """The structs follow the models."""
    declared: list[tuple[type[msgspec.Struct], Any]] = [
        (Event, voice_api_request.VoiceApiRequest),
        (Payload, voice_api_request.WebhookEvent),
        (ApiRequest, voice_api_request.Request),
        (ApiResponse, voice_api_request.Response),
    ]
    for struct, contract in declared:
        assert {field.name for field in msgspec.structs.fields(struct)} == set(contract.__annotations__)


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
def test_both_paths_agree_on_any_value_of_a_member(place: tuple[Any, ...], value: Any) -> None:
    """Values have any type and depth."""
    agree(json.dumps(changed(place, value)).encode())


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", PLACES)
def test_both_paths_agree_on_any_spelling_of_a_value(place: tuple[Any, ...], spelling: str) -> None:
    """Examples are huge numbers, surrogates and deep nesting."""
    agree(spelled(changed(place, "@@"), unused=spelling).replace(b'"@@"', spelling.encode()))
    agree(json.dumps(changed(place, "@@")).encode().replace(b'"@@"', spelling.encode()))


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 9), st.binary(max_size=3)), max_size=3))
def test_both_paths_agree_on_damaged_bytes(edits: list[tuple[int, int, bytes]]) -> None:
    """Bytes are cut, overwritten or inserted."""
    data = SAMPLE
    for position, length, inserted in edits:
        data = data[:position] + inserted + data[position + length :]
    agree(data)


@given(st.sampled_from(PLACES), VALUES, VALUES)
def test_both_paths_agree_on_duplicate_members(place: tuple[Any, ...], first: Any, last: Any) -> None:
    """The last one counts."""
    name = json.dumps(place[-1])
    twice = f"{json.dumps(first)}, {name}: {json.dumps(last)}"
    agree(json.dumps(changed(place, "@@")).replace('"@@"', twice).encode())
