"""What a row must not carry: the password of the request's URL, and SipAuthPassword. All else stays verbatim."""

import re
from typing import Any

import msgspec

HIDDEN = "***"
_SECRET = "sipauthpassword"
_SECRET_BYTES = _SECRET.encode()
_BEFORE_AUTHORITY = re.compile(r"\s*(?:(?:[a-z][a-z0-9+.-]*:)?[/\\]+|(?:sips?|mailto|client|tel):)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/?#\\]*")
_encode = msgspec.json.Encoder().encode
_PAIR = re.compile(rf"({_SECRET}=)[^&#]*", re.IGNORECASE)


def without_secrets(parameters: Any) -> msgspec.Raw:
    """The JSON of parameters with SipAuthPassword as `***`: in any case, however deep, and in text too."""
    # It names the secret if any key or text does, is quicker to look through than they are, and is the row's anyway.
    encoded = _encode(parameters)
    return msgspec.Raw(encoded if _SECRET_BYTES not in encoded.lower() else _encode(_cleaned(parameters)))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _hidden(value) if _SECRET in value.lower() else value
    if isinstance(value, dict):
        return {
            key: HIDDEN if key.lower() == _SECRET and item is not None else _cleaned(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def without_password(url: str) -> str:
    """A URL with its password, and a SipAuthPassword in its query, as `***`."""
    if _SECRET in url.lower():
        url = _hidden(url)
    if "@" not in url:
        return url
    start = _BEFORE_AUTHORITY.match(url).end()  # type: ignore[union-attr]  # it matches nothing, too
    end = _AUTHORITY.match(url, start).end()  # type: ignore[union-attr]
    colon, at = url.find(":", start, end), url.rfind("@", start, end)
    if at < 0 <= colon and url[start] != "[" and not url[colon + 1 : end].isdecimal():
        at = url.rfind("@")  # no port: a password with a raw slash, question mark or hash in it
    return f"{url[: colon + 1]}{HIDDEN}{url[at:]}" if 0 <= colon < at else url


def _hidden(text: str) -> str:
    """Form pairs lose their value; any other text that names the secret, such as JSON in a string, is hidden whole."""
    cleaned, pairs = _PAIR.subn(rf"\1{HIDDEN}", text)
    return cleaned if pairs == text.lower().count(_SECRET) else HIDDEN
