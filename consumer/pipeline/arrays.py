"""Long JSON arrays: parsed a piece at a time, so that only a piece of one is ever there as objects.

The pieces are whole elements. An array is valid JSON exactly if each of its pieces is, between brackets of its own, so
the parser decides what is JSON; in here it is only found where elements end.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from consumer.pipeline.oddities import Oddities
from consumer.pipeline.parsing import BOM, STRING, TooLarge, parse, too_large
from consumer.pipeline.refusal import Refused
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
_ONE_ELEMENT = re.compile(_ELEMENT, re.DOTALL)
_NEXT_DELIMITER = re.compile(rb"(?:[^][{}\",]++|%b)*+([][{},])" % STRING, re.DOTALL)


def events(data: bytes, odd: Oddities) -> Iterable[Any]:
    """Return the values that stand for events: the elements of an array, or else the document itself.

    One that is too large to be built is a `TooLarge`. All of `data` is known to be JSON when this returns, and what had
    to be mended anywhere in it is noted in `odd`.

    Raises:
        Refused: not-json, or not-cloudevent for an empty array.
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
        raise _empty()
    return document


def _elements(data: bytes, start: int, odd: Oddities) -> Iterator[Any]:
    """Parse all pieces, and then each again when its elements are wanted."""
    lengths = [len(_parsed(piece, odd)) for piece in _pieces(data, start)]
    if lengths == [0]:
        raise _empty()
    if 0 in lengths:
        raise Refused(Reason.NOT_JSON, "it does not parse")  # nothing between two commas
    return (element for piece in _pieces(data, start) for element in _parsed(piece, Oddities()))


def _parsed(piece: bytes, odd: Oddities) -> list[Any]:
    try:
        parsed: list[Any] = parse(piece, odd)
        return parsed
    except TooLarge:
        return [too_large(piece[1:-1])]


def _pieces(data: bytes, start: int) -> Iterator[bytes]:
    """Cut the array at commas between its elements and yield each piece in brackets."""
    view, end = memoryview(data), len(data.rstrip(_SPACE)) - 1
    if end < start or data[end : end + 1] != b"]":
        raise Refused(Reason.NOT_JSON, "it does not parse")
    while start <= end:
        several = _ELEMENTS.match(data, start, min(start + PIECE, end))
        stop = several.end() - 1 if several else _end_of_element(data, start, end)
        yield b"".join((b"[", view[start:stop], b"]"))
        start = stop + 1


def _end_of_element(data: bytes, start: int, end: int) -> int:
    """Return where one element ends that is long, deep, the last, or none at all."""
    found = _ONE_ELEMENT.match(data, start, end)
    if found and (found.end() == end or data[found.end()] == ord(",")):
        return found.end()
    depth, position = 0, start
    while found := _NEXT_DELIMITER.match(data, position, end):
        if found[1] == b"," and depth == 0:
            return found.start(1)
        depth += (found[1] in b"[{") - (found[1] in b"]}")
        position = found.end()
    return end


def _empty() -> Refused:
    return Refused(Reason.NOT_CLOUDEVENT, "an empty array")
