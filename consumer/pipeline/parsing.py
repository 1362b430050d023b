"""Bytes to JSON values: exact about what JSON is, patient with what JSON allows and fast parsers refuse.

A lone surrogate (`"\\ud800"`) and a number that no double holds (`1e999`) are JSON by the letter of RFC 8259, so they
do not cost the event; NaN and Infinity are not.
"""

import json
import math
import re
from typing import Any

import msgspec

from consumer.pipeline.oddities import Oddities
from consumer.pipeline.refusal import Refused
from consumer.records import Reason
from schemas.call_request import Oddity

# Arrays and objects inside of each other. Beyond it the interpreter's own limit would decide, by who calls.
DEEPEST = 200
LONGEST_INTEGER = 4300  # digits: what msgspec takes, and Python reads again (sys.int_info)
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile("[\ud800-\udfff]")
_decode = msgspec.json.Decoder().decode


def parse(data: bytes, odd: Oddities) -> Any:
    """The JSON value of `data`; what had to be mended is noted in `odd`. A UTF-8 byte order mark is tolerated.

    Raises:
        Refused: not-json.
    """
    try:
        document = _decode(data)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_patiently(data, odd)
    if len(data) > 2 * DEEPEST and data.count(b"[") + data.count(b"{") > DEEPEST:
        _check_depth(document)
    return document


def _parse_patiently(data: bytes, odd: Oddities) -> Any:
    if data.startswith(_BOM):
        return parse(data[len(_BOM) :], odd)
    if data.startswith(_GZIP):
        raise Refused(Reason.NOT_JSON, "it is compressed with gzip")
    number = _Number(odd)
    try:
        document = json.loads(
            data.decode(), parse_int=number.integer, parse_float=number.real, parse_constant=number.constant
        )
    except UnicodeDecodeError:
        raise Refused(Reason.NOT_JSON, "it is binary, or text that is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise Refused(Reason.NOT_JSON, "it does not parse" if data else "it is empty") from None
    _check_depth(document)
    return _without_surrogates(document, odd)


class _Number:
    """Reads numbers for the stdlib's parser; those too large stay text."""

    def __init__(self, odd: Oddities) -> None:
        self._odd = odd

    def integer(self, digits: str) -> int | str:
        return int(digits) if len(digits.removeprefix("-")) <= LONGEST_INTEGER else self._outsize(digits)

    def real(self, digits: str) -> float | str:
        value = float(digits)
        return value if math.isfinite(value) else self._outsize(digits)

    def constant(self, name: str) -> Any:
        raise ValueError(name)

    def _outsize(self, digits: str) -> str:
        self._odd.note(Oddity.NUMBER)
        return digits


def _without_surrogates(value: Any, odd: Oddities) -> Any:
    if isinstance(value, str):
        mended = _SURROGATE.sub("\ufffd", value)
        if mended != value:
            odd.note(Oddity.UNICODE)
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


def _too_deep() -> Refused:
    return Refused(Reason.NOT_JSON, "it is nested too deep")
