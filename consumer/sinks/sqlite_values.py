"""Turn lines of JSON into the values that SQLite stores. Long text stays UTF-8, to bound memory.

As `str`, text takes up to four bytes a character, and SQLite would copy it into UTF-8 again.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from consumer.sinks import Batch

AT_ONCE = 1_000  # rows in memory at once; a batch may be larger and on disk
BYTES_AT_ONCE = 2 * 1024 * 1024  # of their lines
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


def parts(batch: Batch) -> Iterator[list[bytes]]:
    """Yield the lines of a batch in parts of `AT_ONCE` rows or about `BYTES_AT_ONCE` bytes, each long line alone."""
    part: list[bytes] = []
    size = 0
    for item in batch:
        line = item.line
        if size > BYTES_AT_ONCE or len(part) == AT_ONCE or (len(line) > LONG and part):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line) if len(line) <= LONG else BYTES_AT_ONCE + 1  # nothing else is added to a long line
    if part:
        yield part


def values_of(line: bytes, fields: Sequence[str]) -> Values:
    """Return the values of a line in the order of `fields`, null for an absent one."""
    row = msgspec.json.decode(line)
    return [_stored(row.get(field)) for field in fields]


def values_of_long(line: bytes, fields: Sequence[str]) -> Values:
    """Return the same values, with long text as a buffer of UTF-8. The line must be compact JSON."""
    row = _members(line)
    return [_stored_raw(row.get(field, _NULL)) for field in fields]


def _stored(value: Any) -> Any:
    """Return a value that SQLite can store; lists and objects become JSON text."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value


def _stored_raw(raw: msgspec.Raw) -> Any:
    view = memoryview(raw)
    if len(view) <= LONG or view[0] not in _LONG_KINDS:
        return _stored(msgspec.json.decode(raw))
    if view[0] != ord('"'):
        return view
    text = view[1:-1]
    if not _BACKSLASH.search(text):
        return text  # a part of the line, not a copy
    return b"".join(msgspec.json.decode(b'"%b"' % found[0], type=str).encode() for found in _CHARACTERS.finditer(text))
