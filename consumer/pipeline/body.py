"""What Twilio, or the customer's server, answered: base64 of JSON, TwiML, text, or anything at all."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Literal
from xml.parsers import expat

import msgspec

from schemas.call_request import Oddity

Kind = Literal["json", "twiml", "text", "binary", "empty", "missing", "undecodable"]
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]+)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Body:
    """A body decoded: its text (the base64 for what is no text), what it is, and what it says."""

    text: str | None
    kind: Kind
    document: dict[str, Any] | None = None  # a JSON body, if it is an object
    verbs: list[str] | None = None
    oddity: Oddity | None = None


def decode_body(encoded: str | None, content_type: str | None) -> Body:
    """Decode a body by its content type and its charset; never raises for anything that was sent."""
    if encoded is None:
        return Body(None, "missing")
    if not encoded:
        return Body("", "empty")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return Body(encoded, "undecodable", oddity=Oddity.BODY)
    media = (content_type or "").lower()
    found = _CHARSET.search(content_type or "")
    try:
        text = data.decode(found[1] if found else "utf-8-sig")
    except (UnicodeDecodeError, LookupError):
        return _undecoded(encoded, media)
    if _CONTROL.search(text):
        return Body(encoded, "binary")
    return _read(text, media)


def _undecoded(encoded: str, media: str) -> Body:
    textual = media.startswith("text/") or "json" in media or "xml" in media
    return Body(encoded, "undecodable", oddity=Oddity.BODY) if textual else Body(encoded, "binary")


def _read(text: str, media: str) -> Body:
    start = text.lstrip()[:1]
    if "json" in media or (start in ("{", "[") and "xml" not in media):
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return Body(text, "text", oddity=Oddity.BODY if "json" in media else None)
        return Body(text, "json", document if isinstance(document, dict) else None)
    if "xml" in media or start == "<":
        verbs = twiml_verbs(text)
        if verbs is not None:
            return Body(text, "twiml", verbs=verbs)
        return Body(text, "text", oddity=Oddity.XML if "xml" in media else None)
    return Body(text, "text")


def twiml_verbs(text: str) -> list[str] | None:
    """The elements directly under `Response`, in order; None for any other or malformed XML, or one with a DTD."""
    verbs: list[str] = []
    depth = 0

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        if depth == 0 and name != "Response":
            raise _NoTwiml
        if depth == 1:
            verbs.append(name)
        depth += 1

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise _NoTwiml

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = refuse  # without a DTD there are no entities of its own
    try:
        # The text is decoded already, so whatever encoding it declares is past.
        parser.Parse(re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1).encode("utf-8", "replace"), True)
    except (_NoTwiml, expat.ExpatError):
        return None
    return verbs


class _NoTwiml(Exception):
    """Stops the parser."""
