"""Build events to test with, small numbered ones and live-like ones, and decode them."""

import json
from collections import deque
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st

from consumer.decoding.decoder import Decoder
from consumer.decoding.fast_path import FastPath
from consumer.records import TRIM_HORIZON, DeadLetter, Decoded, Position, Record, Shard, Skipped
from schemas import examples

FAMILY = "com.twilio.voice.api-request."
SID = "CA" + "0" * 32
CALL_CREATED = f"{FAMILY}call.created"


def numbered_event(number: int, event_type: str = CALL_CREATED) -> bytes:
    """Return a small event with one parameter; its id and SID contain the number."""
    data = {"sid": f"CA{number:032x}", "request": {"method": "POST", "parameters": {"To": "+15550100000"}}}
    envelope = {"specversion": "1.0", "type": event_type, "source": "/calls", "id": event_id(number), "data": data}
    return json.dumps(envelope).encode()


def event_id(number: int) -> str:
    """Return the id of the event with this number."""
    return f"VW{number:032x}"


def event_ids(numbers: Iterable[int]) -> list[str]:
    """Return the ids of the events with these numbers."""
    return [event_id(number) for number in numbers]


def each(*values: Any) -> tuple[Any, ...]:
    """Return one parameter set per value, of any type."""
    return values


Row = dict[str, Any]  # a decoded line


def decode(data: bytes, after: Position = TRIM_HORIZON, raw: bool = False) -> list[Row | DeadLetter | Skipped]:
    """Return the rows, then the dead letters, then the skipped types of one Kinesis record, the seventh of its shard.

    Check that the fast path and the careful way agree.
    """
    decoder, record = Decoder("stream", Shard("shard"), raw), Record(7, "key", 1.7e9, data)
    pieces = list(decoder(deque([record]), after, 100))
    with patch.object(FastPath, "__call__", lambda *_: None):
        careful = list(Decoder("stream", Shard("shard"), raw)(deque([record]), after, 100))
    assert outcomes(careful) == outcomes(pieces)
    assert lines(careful) == lines(pieces)
    return outcomes(pieces)


def outcomes(pieces: Iterable[Decoded]) -> list[Row | DeadLetter | Skipped]:
    """Return the rows, the dead letters and the skipped types of some records."""
    pieces = list(pieces)
    rows: list[Row | DeadLetter | Skipped] = [json.loads(line) for line in lines(pieces).splitlines()]
    rows += [letter for piece in pieces for letter in piece.dead_letters]
    return rows + [Skipped(event_type) for piece in pieces for event_type in piece.skipped]


def lines(pieces: Iterable[Decoded]) -> bytes:
    """Return the encoded rows of some records."""
    return b"".join(piece.block.lines for piece in pieces)


def event(**changes: Any) -> dict[str, Any]:
    """Return a realistic event with other members; `...` removes one."""
    base: dict[str, Any] = json.loads(examples.load("live-like-call-created"))
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def with_payload(**changes: Any) -> dict[str, Any]:
    """Return the event with other members of `data`."""
    data = event()["data"]
    return event(data={name: value for name, value in {**data, **changes}.items() if value is not ...})


def with_request(**changes: Any) -> dict[str, Any]:
    """Return the event with other members of `data.request`."""
    return with_payload(request={**event()["data"]["request"], **changes})


def with_response(**changes: Any) -> dict[str, Any]:
    """Return the event with other members of `data.response`."""
    return with_payload(response={**event()["data"]["response"], **changes})


def row(document: Any, raw: bool = False) -> dict[str, Any]:
    """Return the single row of an event."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    [outcome] = decode(data, raw=raw)
    assert isinstance(outcome, dict), outcome
    return outcome


def letter(data: bytes) -> DeadLetter:
    """Return the single dead letter of a record."""
    [outcome] = decode(data)
    assert isinstance(outcome, DeadLetter), outcome
    return outcome


def spelled(document: Any, **changes: str) -> bytes:
    """Return the JSON of a document in which the value of a member is spelled as given."""
    text = json.dumps({**document, **dict.fromkeys(changes, "@@")})
    for value in changes.values():
        text = text.replace('"@@"', value, 1)
    return text.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
