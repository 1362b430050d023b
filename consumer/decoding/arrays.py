"""Parse long JSON arrays piece by piece, to bound memory: at most one piece at a time exists as Python objects.

A piece is one or more whole elements. An array is valid JSON if and only if each piece is valid between brackets. This
module only finds where elements end; the parser decides what is valid JSON.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from consumer.decoding.json_document import (
    BOM,
    STRING,
    TooLarge,
    check_json,
    parse,
    too_large,
    with_harmless_surrogates,
)
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.warnings import Warnings
from consumer.records import Reason

PIECE = 64 * 1024  # bytes that are parsed into objects at once; must be below `json_document.MOST_VALUES`
_SPACE = b" \t\r\n"
_DEPTH = 16  # nesting that the regular expression skips; deeper elements take a slower path (Twilio's are 4 deep)
_START = re.compile(rb"(?:%b)*[ \t\r\n]*\[" % BOM)


def _inside(depth: int) -> bytes:
    """Return a regular expression for the content of brackets with up to `depth` nested levels."""
    deeper = rb"|[{[]%b[]}]" % _inside(depth - 1) if depth else b""
    return rb"(?:[^][{}\"]++|%b%b)*+" % (STRING, deeper)


_ELEMENT = rb"(?:[^][{}\",]++|%b|[{[]%b[]}])*+" % (STRING, _inside(_DEPTH))
_ELEMENTS = re.compile(rb"(?:%b,)++" % _ELEMENT, re.DOTALL)
_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")  # msgspec reports where a value ended


def events(data: bytes, warnings: Warnings) -> Iterable[Any]:
    """Return the events in `data`: the elements of a JSON array, or the whole document.

    An event with too many values is returned as a `TooLarge`. All of `data` has been checked to be JSON on return.
    Repairs made anywhere in it are noted in `warnings`.

    Raises:
        RecordRejected: not-json, or not-cloudevent for an empty array.
    """
    if len(data) > PIECE and (start := _START.match(data)):
        return _elements(data, start.end(), warnings)
    try:
        document = parse(data, warnings)
    except TooLarge as error:
        return [error]
    if not isinstance(document, list):
        return [document]
    if not document:
        raise _no_events()
    return document


def _elements(data: bytes, start: int, warnings: Warnings) -> Iterator[Any]:
    """Check all pieces first, then parse each again as its elements are iterated."""
    cuts, empty = array("L", [start]), 0
    for stop in _cuts(data, start):
        empty += not _parsed(data, cuts[-1], stop, warnings)
        cuts.append(stop + 1)
    if empty:
        raise _no_events() if len(cuts) == 2 else _malformed()  # an empty array, or two commas in a row
    return (element for start, after in pairwise(cuts) for element in _parsed(data, start, after - 1, Warnings()))


def _parsed(data: bytes, start: int, stop: int, warnings: Warnings) -> list[Any]:
    piece = b"".join((b"[", memoryview(data)[start:stop], b"]"))
    try:
        parsed: list[Any] = parse(piece, warnings)
        return parsed
    except TooLarge:
        return [too_large(piece[1:-1])]


def _cuts(data: bytes, start: int) -> Iterator[int]:
    """Yield the offset at which each piece ends: a comma between elements, or the closing bracket."""
    end = len(data.rstrip(_SPACE)) - 1
    if end < start or data[end] != ord("]"):
        raise _malformed()
    harmless = memoryview(with_harmless_surrogates(data))
    while start <= end:
        found = _ELEMENTS.match(data, start, min(start + PIECE, end))
        stop = found.end() - 1 if found else start + _length_of_value(harmless[start:end])
        yield stop
        start = stop + 1


def _length_of_value(text: memoryview) -> int:
    """Return the length in bytes of the JSON value at the start of `text`, up to its comma.

    Used for an element that is long, deeply nested, or the last one. Return the length of the whole text if it is not
    valid JSON: the parser then reports the error.
    """
    try:
        check_json(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if found := _TRAILING.search(str(error)):
            length = int(found[1]) - 1
            return length if text[length] == ord(",") else len(text)
    return len(text)


def _no_events() -> RecordRejected:
    return RecordRejected(Reason.NOT_CLOUDEVENT, "an empty array")


def _malformed() -> RecordRejected:
    return RecordRejected(Reason.NOT_JSON, "it does not parse")  # the same text as json_document's
