"""Remove secrets from rows: the password of any URL anywhere in a value, and SipAuthPassword.

All other text stays verbatim. A value without `@`, `%` and the secret's name cannot hold a secret, so most events cost
only three searches.
"""

import re
from typing import Any, AnyStr

import msgspec

HIDDEN = "***"
_SECRET = "sipauthpassword"
_SECRET_BYTES = _SECRET.encode()
LONG = 64 * 1024  # characters or bytes; longer text is searched and rewritten piece by piece, to bound memory
PIECES = 1024  # that are joined at once
_BEFORE_AUTHORITY = re.compile(r"\s*(?:(?:[a-z][a-z0-9+.-]*:)?[/\\]+|(?:sips?|mailto|client|tel):)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/?#\\]*")
_encode = msgspec.json.Encoder().encode
# Each expression for secrets has two groups: the text before the secret and the text after it. Both are kept.
_KEPT = rf"\1{HIDDEN}\2"
_PAIR = re.compile(rf"({_SECRET}=)[^&#]*()", re.IGNORECASE)
# A value that is a URL as a whole. A word that merely contains a colon and an @ is not one.
_URL = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:[/\\]+|[/\\]{2}|sips?:)", re.IGNORECASE)
# URLs inside text, such as TwiML, JSON or a list. Each match attempt stops at the end of the authority or after 128
# characters, so that no text takes quadratic time.
_WITHIN = re.compile(
    r"""
    ( (?: : | (?<![/\\:]) [/\\] ) [/\\]++      # before the user: `://`, `//`, JSON's `:\/\/`
      (?! \[ ) [^\s"'<>:/?#\\@]*+ : )          # the user; not an IPv6 address in brackets
    (?: [^\s"'<>/?#\\]*                       # a password, up to the last @ of the authority
      | (?! [0-9]*+ (?: [\s"'<>/?#\\] | \Z ) ) # not a port, so a password that contains a raw / ? or #
        [^\s"'<>]{0,128} ) (@)
    """,
    re.VERBOSE,
)
_SIP_WITHIN = re.compile(r"""((?:(?<=\bsip)|(?<=\bsips)):[^\s"'<>:@]*+:)[^\s"'<>:@]*+(@)""", re.IGNORECASE)
# Percent-encoded URLs, once or several times, as in the query of another URL.
_END = r"""(?!%(?:25)*(?:2F|3F|23|26))[^\s"'<>/?#&]"""
_ENCODED = re.compile(
    rf"(%(?:25)*3A(?:(?:%(?:25)*2F|/){{1,4}}|(?<=sip%3A)|(?<=sips%3A))"
    rf"(?:(?!%(?:25)*(?:3A|40)){_END[:-1]}:@]){{0,128}}(?::|%(?:25)*3A))"
    rf"(?:{_END}){{0,128}}(@|%(?:25)*40)",
    re.IGNORECASE,
)


def without_secrets(parameters: Any) -> msgspec.Raw:
    """Return the parameters as JSON, with URL passwords and SipAuthPassword as `***`.

    The name SipAuthPassword is found in upper or lower case, at any depth, and inside text.
    """
    # Search the encoded JSON instead of each value: it is faster, and the row needs the JSON in any case.
    encoded = _encode(parameters)
    short = len(encoded) <= LONG
    named = _SECRET_BYTES in encoded.lower() if short else _count(encoded, _SECRET_BYTES)
    if not named and b"@" not in encoded and b"%" not in encoded:
        return msgspec.Raw(encoded)
    del encoded  # it may be large
    return msgspec.Raw(_encode(_cleaned(parameters)))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_passwords(_hidden(value) if len(value) > LONG or _SECRET in value.lower() else value)
    if isinstance(value, dict):
        return {
            without_passwords(key): HIDDEN if key.lower() == _SECRET and item is not None else _cleaned(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def redacted(row: msgspec.Struct) -> msgspec.Struct:
    """Return the row with every URL password in its strings as `***`."""
    values = msgspec.structs.astuple(row)
    return type(row)(*(without_passwords(value) if type(value) is str else value for value in values))


def without_password(url: str) -> str:
    """Return the URL with its password, those of URLs in its query, and SipAuthPassword as `***`."""
    if len(url) > LONG or _SECRET in url.lower():
        url = _hidden(url)
    return _within(_without_own_password(url) if "@" in url else url)


def without_passwords(text: str) -> str:
    """Return the text with every URL password in it as `***`."""
    if "@" in text and _URL.match(text):
        text = _without_own_password(text)
    return _within(text)


def _without_own_password(url: str) -> str:
    start = _BEFORE_AUTHORITY.match(url).end()  # type: ignore[union-attr]  # also matches ""
    end = _AUTHORITY.match(url, start).end()  # type: ignore[union-attr]
    colon, at = url.find(":", start, end), url.rfind("@", start, end)
    if at < 0 <= colon and url[start] != "[" and not url[colon + 1 : end].isdecimal():
        at = url.rfind("@")  # not a port, so a password that contains a raw / ? or #
    return f"{url[: colon + 1]}{HIDDEN}{url[at:]}" if 0 <= colon < at else url


def _within(text: str) -> str:
    if "@" in text:
        text = _hide(_SIP_WITHIN, _hide(_WITHIN, text))
    return _hide(_ENCODED, text) if "%" in text else text


def _hidden(text: str) -> str:
    """Hide the values of form pairs; hide the whole text if it names the secret in another way, such as JSON."""
    pairs = sum(1 for _ in _PAIR.finditer(text))
    return _hide(_PAIR, text) if pairs == _count(text, _SECRET) else HIDDEN


def _count(text: AnyStr, name: AnyStr) -> int:
    """Return how often a name occurs, in upper or lower case. Only a piece of the text at a time is copied."""
    if len(text) <= LONG:
        return text.lower().count(name)
    overlap = len(name) - 1
    return sum(text[start : start + LONG + overlap].lower().count(name) for start in range(0, len(text), LONG))


def _hide(pattern: re.Pattern[str], text: str) -> str:
    """Replace the secrets that a pattern finds. Join the pieces of long text in batches, to bound memory."""
    if len(text) <= LONG:
        return pattern.sub(_KEPT, text)
    joined: list[str] = []
    pieces: list[str] = []
    start = 0
    for found in pattern.finditer(text):
        pieces += (text[start : found.end(1)], HIDDEN)
        start = found.start(2)
        if len(pieces) >= PIECES:
            joined.append("".join(pieces))
            pieces.clear()
    return "".join((*joined, *pieces, text[start:]))
