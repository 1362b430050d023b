"""Long JSON arrays: parsed a piece at a time, so that only a piece of one is ever there as objects.

The pieces are whole elements. An array is valid JSON exactly if each of its pieces is, between brackets of its own, so
the parser decides what is JSON; in here it is only found where elements end.
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

PIECE = 64 * 1024  # bytes of elements that are objects at once; fewer than `parsing.MOST_VALUES`
_SPACE = b" \t\r\n"
_DEPTH = 16  # of what is skipped at the speed of C; the events of Twilio are four deep
_START = re.compile(rb"(?:%b)*[ \t\r\n]*\[" % BOM)


def _inside(depth: int) -> bytes:
    """An expression for what may stand inside of brackets, `depth` further ones in it."""
    deeper = rb"|[{[]%b[]}]" % _inside(depth - 1) if depth else b""
    return rb"(?:[^][{}\"]++|%b%b)*+" % (STRING, deeper)


_ELEMENT = rb"(?:[^][{}\",]++|%b|[{[]%b[]}])*+" % (STRING, _inside(_DEPTH))
_ELEMENTS = re.compile(rb"(?:%b,)++" % _ELEMENT, re.DOTALL)
_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")  # how msgspec says where a value ended


def events(data: bytes, odd: Warnings) -> Iterable[Any]:
    """Return the values that stand for events: the elements of an array, or else the document itself.

    One that is too large to be built is a `TooLarge`. All of `data` is known to be JSON when this returns, and what had
    to be mended anywhere in it is noted in `odd`.

    Raises:
        RecordRejected: not-json, or not-cloudevent for an empty array.
    """
    if len(data) > PIECE and (start := _START.match(data)):
        return _elements(data, start.end(), odd)
    try:
        document = parse(data, odd)
    except TooLarge as error:
        return [error]
    if not isinstance(document, list):
        return [document]
    if not document:
        raise _no_events()
    return document


def _elements(data: bytes, start: int, odd: Warnings) -> Iterator[Any]:
    """Parse all pieces, and then each again when its elements are wanted."""
    cuts, empty = array("L", [start]), 0
    for stop in _cuts(data, start):
        empty += not _parsed(data, cuts[-1], stop, odd)
        cuts.append(stop + 1)
    if empty:
        raise _no_events() if len(cuts) == 2 else _malformed()  # nothing at all, or nothing between two commas
    return (element for start, after in pairwise(cuts) for element in _parsed(data, start, after - 1, Warnings()))


def _parsed(data: bytes, start: int, stop: int, odd: Warnings) -> list[Any]:
    piece = b"".join((b"[", memoryview(data)[start:stop], b"]"))
    try:
        parsed: list[Any] = parse(piece, odd)
        return parsed
    except TooLarge:
        return [too_large(piece[1:-1])]


def _cuts(data: bytes, start: int) -> Iterator[int]:
    """Yield where the array is cut, at commas between its elements, and where it ends."""
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
    """Return how long the first JSON value in a text is, with what follows up to a comma.

    That is for an element that is long, deep, or the last. If there is none, or more than a comma follows, all of the
    text is one piece, and the parser says what is wrong with it.
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
    return RecordRejected(Reason.NOT_JSON, "it does not parse")
