"""Mask personal data for display: the shape of the data stays visible, its values do not."""

import re
from collections.abc import Mapping
from typing import Any

from schemas.event_types import EVENT_TYPES

HIDDEN = "***"
# Words of the format, which carry no value of an event.
_NAMES = b"""
    id source type specversion time datacontenttype dataschema data data_base64 subject sid requestDateCreated timestamp
    eventSid request response method url parameters responseCode requestDuration contentType responseBody dateCreated
    AccountSid To From ApiVersion true false null GET POST PUT DELETE application json xml text html http https
"""
_KNOWN = frozenset([*_NAMES.split(), *(event_type.encode() for event_type in EVENT_TYPES)])
_WORD = re.compile(rb"[A-Za-z0-9._+-]+|[\x80-\xff]+")
_LETTER, _DIGIT = re.compile(rb"[A-Za-z]"), re.compile(rb"[0-9]")
_CONTROL = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Fields of a row that a command shows without --reveal. All others may hold a value of the event.
_SHOWN_FIELDS = """
    event_type event_time event_schema_version resource action occurred_at requested_at responded_at response_status
    request_duration_ms response_body_kind error_code warnings stream_name shard_id sequence_number sub_sequence_number
    event_index arrived_at
"""
_SHOWN = frozenset(_SHOWN_FIELDS.split())


def masked(data: bytes) -> bytes:
    """Return the data with each letter as x and each digit as 0, except in words of the format."""
    return _WORD.sub(_masked_word, data)


def _masked_word(found: re.Match[bytes]) -> bytes:
    word = found[0]
    if word in _KNOWN:
        return word
    return b"?" * len(word) if word[0] > 127 else _DIGIT.sub(b"0", _LETTER.sub(b"x", word))


def masked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row without values that came from the event's request or response."""
    return {name: value if name in _SHOWN or value is None else HIDDEN for name, value in row.items()}


def printable(data: bytes) -> str:
    r"""Return the data as text that a terminal shows as it is: other bytes and control characters as \x1b."""
    text = data.decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
