"""Bytes to JSON values: exact about what JSON is, patient with what JSON allows and fast parsers refuse.

A lone surrogate (`"\\ud800"`) and a number that no double holds (`1e999`) are JSON by the letter of RFC 8259, so they
do not cost the event; NaN and Infinity are not. A value that would take too much memory as objects is refused unread.
"""

import json
import math
import re
from typing import Any

import msgspec

from consumer.decoding.rejection import RecordRejected
from consumer.decoding.warnings import Warnings
from consumer.records import Reason
from schemas.call_request import WarningCode

# Arrays and objects inside of each other. Beyond it the interpreter's own limit would decide, by who calls.
DEEPEST = 200
LONGEST_TYPE = 1024  # bytes: no event type is longer
LONGEST_INTEGER = 4300  # digits: what msgspec takes, and Python reads again (sys.int_info)
# Values in one document: as objects these take about 25 MB at most, whatever they are. An event of Twilio has 50.
MOST_VALUES = 100_000
BOM = b"\xef\xbb\xbf"
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'  # a JSON string, for a regular expression with DOTALL
_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile("[\ud800-\udfff]")
# Each value but the first has one of these before it: the bytes up to the last value that is allowed.
_MANY_VALUES = re.compile(rb"(?:(?:[^\",{[]++|%b)*+[,{[]){%d}+" % (STRING, MOST_VALUES), re.DOTALL)
_decode = msgspec.json.Decoder().decode


class _Typed(msgspec.Struct):
    """An object of which only the type is looked at; the rest is checked to be JSON and not kept."""

    type: msgspec.Raw = msgspec.Raw(b"null")


_decode_type = msgspec.json.Decoder(_Typed).decode
check_json = msgspec.json.Decoder(msgspec.Raw).decode


class TooLarge(RecordRejected):
    """The document has more than `MOST_VALUES` values. `event_type` is what its member `type` says, "" if nothing."""

    def __init__(self, reason: Reason, message: str, event_type: str = "") -> None:
        super().__init__(reason, message)
        self.event_type = event_type


def parse(data: bytes, odd: Warnings) -> Any:
    """The JSON value of `data`; what had to be mended is noted in `odd`. A UTF-8 byte order mark is tolerated.

    Raises:
        TooLarge: it is JSON, and not worth the memory.
        RecordRejected: not-json.
    """
    if len(data) > MOST_VALUES and _has_too_many_values(data):
        raise too_large(data)
    try:
        document = _decode(data)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_patiently(data, odd)
    if len(data) > 2 * DEEPEST and data.count(b"[") + data.count(b"{") > DEEPEST:
        _check_depth(document)
    return document


def _parse_patiently(data: bytes, odd: Warnings) -> Any:
    if data.startswith(BOM):
        return parse(data[len(BOM) :], odd)
    if data.startswith(_GZIP):
        raise RecordRejected(Reason.NOT_JSON, "it is compressed with gzip")
    number = _Number(odd)
    try:
        document = json.loads(
            data.decode(), parse_int=number.integer, parse_float=number.real, parse_constant=number.constant
        )
    except UnicodeDecodeError:
        raise RecordRejected(Reason.NOT_JSON, "it is binary, or text that is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise RecordRejected(Reason.NOT_JSON, "it does not parse" if data else "it is empty") from None
    _check_depth(document)
    return _without_surrogates(document, odd)


def _has_too_many_values(data: bytes) -> bool:
    most = data.count(b",") + data.count(b"{") + data.count(b"[")  # those in strings too
    return most >= MOST_VALUES and _MANY_VALUES.match(data) is not None


def too_large(data: bytes) -> RecordRejected:
    """Return what is wrong with a document of too many values, found out without building it."""
    try:
        if not data.isascii():
            data.decode()  # what is skipped is not held against UTF-8
        return _judged(with_harmless_surrogates(data.removeprefix(BOM)))
    except RecursionError:
        return _too_deep()
    except UnicodeDecodeError:
        return RecordRejected(Reason.NOT_JSON, "it is binary, or text that is not UTF-8")
    except msgspec.MsgspecError:
        return RecordRejected(Reason.NOT_JSON, "it does not parse")


def _judged(data: bytes) -> TooLarge:
    if not data.lstrip().startswith(b"{"):
        check_json(data)
        return TooLarge(Reason.NOT_CLOUDEVENT, "it is no JSON object")
    event_type = bytes(_decode_type(data).type)
    known = _decode(event_type) if event_type.startswith(b'"') and len(event_type) <= LONGEST_TYPE else ""
    reason = Reason.INVALID_EVENT if known else Reason.NOT_CLOUDEVENT
    return TooLarge(reason, f"it holds {MOST_VALUES} values or more", known)


def with_harmless_surrogates(data: bytes) -> bytes:
    """Return the same structure, as long, with no escaped surrogate, which msgspec refuses alone."""
    return data.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0")


class _Number:
    """Reads numbers for the stdlib's parser; those too large stay text."""

    def __init__(self, odd: Warnings) -> None:
        self._odd = odd

    def integer(self, digits: str) -> int | str:
        return int(digits) if len(digits.removeprefix("-")) <= LONGEST_INTEGER else self._outsize(digits)

    def real(self, digits: str) -> float | str:
        value = float(digits)
        return value if math.isfinite(value) else self._outsize(digits)

    def constant(self, name: str) -> Any:
        raise ValueError(name)

    def _outsize(self, digits: str) -> str:
        self._odd.note(WarningCode.NUMBER)
        return digits


def _without_surrogates(value: Any, odd: Warnings) -> Any:
    if isinstance(value, str):
        mended = _SURROGATE.sub("\ufffd", value)
        if mended != value:
            odd.note(WarningCode.UNICODE)
        return mended
    if isinstance(value, list):
        return [_without_surrogates(item, odd) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key, odd): _without_surrogates(item, odd) for key, item in value.items()}
    return value


def _check_depth(document: Any) -> None:
    """Level by level, without recursion."""
    level = [document]
    for _ in range(DEEPEST + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise _too_deep()


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> RecordRejected:
    return RecordRejected(Reason.NOT_JSON, "it is nested too deep")
