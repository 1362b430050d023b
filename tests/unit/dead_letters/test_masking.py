"""Mask values for display, and keep the shape."""

import json

from consumer.dead_letters.masking import masked, masked_row, printable
from schemas import examples
from tests.events import decode, numbered_event


def test_the_shape_of_an_event_stays_visible() -> None:
    """Names of the format, quotes and brackets are what one needs to see why it does not parse."""
    given = b'{"type":"com.twilio.voice.api-request.call.created","data":{"request":{"parameters":{"To":"+15550100000"'
    assert masked(given) == given.replace(b"+15550100000", b"+00000000000")


def test_no_value_of_a_request_is_left() -> None:
    """Neither a phone number nor a URL, a name or a body, and no character beyond ASCII."""
    for name in ("live-like-call-created", "live-like-participant-deleted"):
        data = examples.load(name)
        text = masked(data).decode()
        event = json.loads(data)
        parameters = event["data"]["request"]["parameters"] or {}
        for value in (event["id"], event["data"]["sid"], event["data"]["request"]["url"], *parameters.values()):
            assert (
                not isinstance(value, str) or len(value) < 5 or value in ("POST", "false", "true") or value not in text
            )
    assert masked("Zoë".encode()) == b"xx??"


def test_a_row_shows_only_fields_that_hold_no_value() -> None:
    """Such as times and the kind of event."""
    [outcome] = decode(numbered_event(1))
    assert isinstance(outcome, dict)
    shown = masked_row(outcome)
    assert shown["resource"] == "call"
    assert shown["to_address"] == shown["request_parameters"] == shown["event_id"] == shown["partition_key"] == "***"
    assert "+1555" not in json.dumps(shown)


def test_a_terminal_is_never_controlled_by_data() -> None:
    """Escape sequences, right-to-left marks and bytes that are no text are shown as codes."""
    assert printable(b"\x1b[31mred\x07 \xff\r\n\tnext \xe2\x80\xae") == "\\x1b[31mred\\x07 \\xff\\r\n\tnext \\u202e"
