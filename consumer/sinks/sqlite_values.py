"""Turn rows into the values that SQLite stores. Long text stays UTF-8, to bound memory.

As `str`, text takes up to four bytes a character, and SQLite would copy it into UTF-8 again.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from consumer.sinks import SinkSchema

LONG = 256 * 1024  # bytes of a line that is inserted alone, and of a text that stays UTF-8
Values = list[Any]
# Whole characters of a JSON string, escaped or not.
_CHARACTERS = re.compile(
    rb"(?:[^\\\x80-\xff]|[\xc0-\xff][\x80-\xbf]+|(?:\\u[dD][89abAB]..)?\\(?:u....|[^u])){1,16384}", re.DOTALL
)
_LONG_KINDS = b'"[{'  # how a string, an array and an object begin
_BACKSLASH = re.compile(rb"\\")
_NULL = msgspec.Raw(b"null")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ValuesOf:
    """Return the values of a typed row in the order of the schema's fields."""

    def __init__(self, schema: SinkSchema) -> None:
        self._nested = [index for index, field in enumerate(schema.fields) if field in (*schema.json, *schema.lists)]

    def __call__(self, row: msgspec.Struct) -> Values:
        values = list(astuple(row))
        for index in self._nested:
            value = values[index]
            if value is not None:
                values[index] = _text_of(value) if isinstance(value, list) else _stored(bytes(value))
        return values


def values_of_long(line: bytes, fields: Sequence[str]) -> Values:
    """Return the same values, with long text as a buffer of UTF-8. The line must be compact JSON."""
    row = _members(line)
    return [_stored_raw(row.get(field, _NULL)) for field in fields]


def _text_of(values: Sequence[Any]) -> str:
    return msgspec.json.encode(values).decode() if values else "[]"


def _stored(raw: bytes) -> Any:
    """Return a value that SQLite can store; lists and objects stay JSON."""
    return raw.decode() if raw[:1] in (b"[", b"{") else msgspec.json.decode(raw)


def _stored_raw(raw: msgspec.Raw) -> Any:
    view = memoryview(raw)
    if len(view) <= LONG or view[0] not in _LONG_KINDS:
        return _stored(bytes(raw))
    if view[0] != ord('"'):
        return view
    text = view[1:-1]
    if not _BACKSLASH.search(text):
        return text  # a part of the line, not a copy
    return b"".join(msgspec.json.decode(b'"%b"' % found[0], type=str).encode() for found in _CHARACTERS.finditer(text))
