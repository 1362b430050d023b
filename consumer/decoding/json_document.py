"""Parse JSON strictly by RFC 8259, including valid input that fast parsers reject.

A lone surrogate (`"\\ud800"`) and a number beyond a double's range (`1e999`) are valid JSON, so they are repaired and
noted as warnings. NaN and Infinity are not JSON. A document with too many values is rejected before it is built.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from consumer.decoding.rejection import RecordRejected
from consumer.decoding.warnings import Warnings
from consumer.records import Reason
from schemas.call_request import WarningCode

# Maximum nesting. A fixed limit is needed, because the interpreter's recursion limit depends on the caller.
DEEPEST = 200
LONGEST_TYPE = 1024  # bytes; no event type is longer
LONGEST_INTEGER = 4300  # digits that msgspec writes and Python can read again (sys.int_info)
# Values in one document. As objects they take at most about 25 MB. An event of Twilio has about 50.
MOST_VALUES = 100_000
# Bytes that the strings of one document take in memory. One character beyond U+FFFF makes each take four bytes.
MOST_TEXT = 16 * 1024 * 1024
BOM = b"\xef\xbb\xbf"
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'  # a JSON string, for a regular expression with DOTALL
TEXT_PIECE = 64 * 1024  # characters of a string that are repaired at once, to bound memory
_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile("[\ud800-\udfff]")
# Every value but the first follows a comma or an opening bracket: match up to the last value that is allowed.
_MANY_VALUES = re.compile(rb"(?:(?:[^\",{[]++|%b)*+[,{[]){%d}+" % (STRING, MOST_VALUES), re.DOTALL)
_decode = msgspec.json.Decoder().decode


class _Typed(msgspec.Struct):
    """An object of which only `type` is kept; the other members are only checked to be JSON."""

    type: msgspec.Raw = msgspec.Raw(b"null")


_decode_type = msgspec.json.Decoder(_Typed).decode
check_json = msgspec.json.Decoder(msgspec.Raw).decode


class TooLarge(RecordRejected):
    """The document has too many values or too much text. `event_type` is its member `type`, or "" if it has none."""

    def __init__(self, reason: Reason, message: str, event_type: str = "") -> None:
        super().__init__(reason, message)
        self.event_type = event_type


def parse(data: bytes, warnings: Warnings) -> Any:
    """Return the JSON value in `data`, and note repairs in `warnings`. A UTF-8 byte order mark is tolerated.

    Raises:
        TooLarge: it is JSON, but would take too much memory.
        RecordRejected: not-json.
    """
    large = len(data) > MOST_VALUES
    if large and _has_too_many_values(data):
        raise too_large(data)
    try:
        document = _decode(data)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_patiently(data, warnings)
    if len(data) > 2 * DEEPEST and data.count(b"[") + data.count(b"{") > DEEPEST:
        _check_depth(document)
    if large and _has_too_much_text(document, data):
        del document  # before more memory is taken
        raise too_large(data)
    return document


def parse_usual(data: bytes) -> Any:
    """Return the JSON value in a short document, as `parse` does.

    Raises:
        Exception: it needs `parse`.
    """
    document = _decode(data)
    if len(data) > 2 * DEEPEST and data.count(b"[") + data.count(b"{") > DEEPEST:
        _check_depth(document)
    return document


def _parse_patiently(data: bytes, warnings: Warnings) -> Any:
    if data.startswith(BOM):
        return parse(data[len(BOM) :], warnings)
    if data.startswith(_GZIP):
        raise RecordRejected(Reason.NOT_JSON, "it is compressed with gzip")
    number = _Number(warnings)
    try:
        document = json.loads(
            _bounded(data), parse_int=number.integer, parse_float=number.real, parse_constant=number.constant
        )
    except UnicodeDecodeError:
        raise RecordRejected(Reason.NOT_JSON, "it is binary, or text that is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise RecordRejected(Reason.NOT_JSON, "it does not parse" if data else "it is empty") from None
    _check_depth(document)
    if _has_too_much_text(document, data):
        del document  # before more memory is taken
        raise too_large(data)
    return _without_surrogates(document, warnings)


def _bounded(data: bytes) -> str:
    text = data.decode()
    if sys.getsizeof(text) <= MOST_TEXT:
        return text
    del text  # before more memory is taken
    raise too_large(data)


def _has_too_many_values(data: bytes) -> bool:
    most = data.count(b",") + data.count(b"{") + data.count(b"[")  # an upper bound: strings count too
    return most >= MOST_VALUES and _MANY_VALUES.match(data) is not None


def _has_too_much_text(document: Any, data: bytes) -> bool:
    return len(data) > MOST_TEXT // 4 and _text_size(document) > MOST_TEXT


def too_large(data: bytes) -> RecordRejected:
    """Return the error for a document with too many values or too much text, without building the document."""
    try:
        if not data.isascii():
            data.decode()  # msgspec does not check UTF-8 in values that it skips
        return _too_large(with_harmless_surrogates(data.removeprefix(BOM)))
    except RecursionError:
        return _too_deep()
    except UnicodeDecodeError:
        return RecordRejected(Reason.NOT_JSON, "it is binary, or text that is not UTF-8")
    except msgspec.MsgspecError:
        return RecordRejected(Reason.NOT_JSON, "it does not parse")


def _too_large(data: bytes) -> TooLarge:
    if not data.lstrip().startswith(b"{"):
        check_json(data)
        return TooLarge(Reason.NOT_CLOUDEVENT, "it is not a JSON object")
    event_type = bytes(_decode_type(data).type)
    known = _decode(event_type) if event_type.startswith(b'"') and len(event_type) <= LONGEST_TYPE else ""
    reason = Reason.INVALID_EVENT if known else Reason.NOT_CLOUDEVENT
    return TooLarge(reason, f"it holds {MOST_VALUES} values or more, or {MOST_TEXT // 2**20} MiB of text", known)


def with_harmless_surrogates(data: bytes) -> bytes:
    """Replace escaped surrogates by other characters of the same length: msgspec rejects lone ones."""
    return data.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0")


class _Number:
    """Parse numbers for the standard library's parser. Keep those that are too large as text."""

    def __init__(self, warnings: Warnings) -> None:
        self._warnings = warnings

    def integer(self, digits: str) -> int | str:
        return int(digits) if len(digits.removeprefix("-")) <= LONGEST_INTEGER else self._outsize(digits)

    def real(self, digits: str) -> float | str:
        value = float(digits)
        return value if math.isfinite(value) else self._outsize(digits)

    def constant(self, name: str) -> Any:
        raise ValueError(name)

    def _outsize(self, digits: str) -> str:
        self._warnings.note(WarningCode.NUMBER)
        return digits


def _without_surrogates(value: Any, warnings: Warnings) -> Any:
    if isinstance(value, str):
        repaired = _repair(value) if len(value) <= TEXT_PIECE else "".join(map(_repair, _text_pieces(value)))
        if repaired != value:
            warnings.note(WarningCode.UNICODE)
        return repaired
    if isinstance(value, list):
        return [_without_surrogates(item, warnings) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key, warnings): _without_surrogates(item, warnings) for key, item in value.items()}
    return value


def _text_size(value: Any) -> int:
    """Return about how many bytes the strings of a document take in memory."""
    if isinstance(value, str):
        return sys.getsizeof(value) - sys.getsizeof("")
    if isinstance(value, dict):
        return sum(_text_size(name) + _text_size(item) for name, item in value.items())
    return sum(map(_text_size, value)) if isinstance(value, list) else 0


def _repair(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _text_pieces(text: str) -> Iterator[str]:
    return (text[start : start + TEXT_PIECE] for start in range(0, len(text), TEXT_PIECE))


def _check_depth(document: Any) -> None:
    """Check the nesting level by level, without recursion."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> RecordRejected:
    return RecordRejected(Reason.NOT_JSON, "it is nested too deep")
