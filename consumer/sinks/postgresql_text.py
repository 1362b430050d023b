"""Replace what PostgreSQL's text cannot hold, NUL characters and lone surrogates, by U+FFFD."""

import re

import msgspec

from schemas.call_request import WarningCode

# The escapes of such a character. It may follow an escaped backslash, or be half of a surrogate pair.
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPES = re.compile(
    rb"\\u(?:(?P<pair>[dD][89abAB]..\\u[dD][c-fC-F]..)|(?P<bad>0000|[dD][89a-fA-F]..)|....)|\\[^u]", re.DOTALL
)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
_WARNINGS = "warnings"
_encode_lines = msgspec.json.Encoder().encode_lines
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def storable(lines: bytes) -> bytes:
    """Return lines of JSON objects that PostgreSQL can store: the same ones, unless they have such a character."""
    if _SUSPICIOUS.search(lines) is None:
        return lines
    rows = lines.splitlines(keepends=True)
    return b"".join(map(_storable, rows)) if len(rows) > 1 else _storable(lines)  # a long line is not copied once more


def _storable(line: bytes) -> bytes:
    """Return a line without such characters. If it has `warnings`, they name the change."""
    changed = _ESCAPES.sub(_replaced, line)
    if changed == line:
        return line
    members = _members(changed)
    if _WARNINGS in members:
        warnings = dict.fromkeys([*msgspec.json.decode(members[_WARNINGS]), WarningCode.UNICODE.value])
        members[_WARNINGS] = msgspec.Raw(msgspec.json.encode(list(warnings)))
    return _encode_lines([members])


def _replaced(found: re.Match[bytes]) -> bytes:
    return _REPLACEMENT if found["bad"] else found[0]
