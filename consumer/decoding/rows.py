"""The rows of events as typed structs, and their lines.

A struct with positional arguments takes 1.7 µs to build and encode; a dict takes 3.9 µs.
"""

from typing import Any

import msgspec

from consumer.decoding.redaction import redacted
from schemas.call_request import CallRequest

# It takes the fields as positional arguments in their order.
Row: Any = msgspec.defstruct("CallRequest", [*CallRequest.__annotations__], gc=False)
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode


def with_event(line: bytes, event: dict[str, Any]) -> bytes:
    """Return an encoded row with the original event added as the member `event`."""
    return b"".join((memoryview(line)[:-1], b',"event":', _encode(event), b"}"))


def encode_row(row: msgspec.Struct) -> bytes:
    """Return the row as JSON, with every URL password in its strings as `***`."""
    line = _encode(row)
    if b"@" not in line and b"%" not in line:
        return line
    del line  # it may be large
    return _encode(redacted(row))


def encode_rows(rows: list[msgspec.Struct]) -> bytes:
    """Return the rows as JSON lines, each with a newline, redacted as by `encode_row`."""
    lines = _encoder.encode_lines(rows)
    if b"@" not in lines and b"%" not in lines:
        return lines
    return b"".join(
        _encode(redacted(row)) + b"\n" if b"@" in line or b"%" in line else line
        for row, line in zip(rows, lines.splitlines(keepends=True), strict=True)
    )
