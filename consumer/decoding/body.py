"""Decode the response body of an event: base64 of JSON, TwiML, text or arbitrary bytes."""

import binascii
import re
import sys
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from xml.parsers import expat

import msgspec

from consumer.decoding.json_document import parse
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.twiml import OtherXml, twiml_verbs
from consumer.decoding.warnings import Warnings
from schemas.call_request import WarningCode

Kind = Literal["json", "twiml", "text", "binary", "empty", "missing", "undecodable"]
LONGEST_HEADER = 256  # characters of a content type that are parsed and cached
LARGEST_JSON = 8 * 1024 * 1024  # bytes of memory that the text of a body takes; a larger one is not parsed
LONGEST_XML = 1024 * 1024  # characters that are parsed; Twilio accepts at most 64 KB of TwiML
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([a-z0-9._:-]+)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
# Exclude Python codecs that do not decode to text, and those that take quadratic time.
_CODECS = {*aliases.values()} - {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec"}
_CODECS -= {"zlib_codec", "mbcs", "utf_7"}


class Body(msgspec.Struct, frozen=True):
    """A decoded body. `text` is the original base64 if the body is not text."""

    text: str | None
    kind: Kind
    document: dict[str, Any] = {}  # the members, if the body is a JSON object
    verbs: list[str] | None = None  # the verbs, if the body is TwiML


class Content(NamedTuple):
    """A parsed content type. `codec` is None if Python has no codec for the charset."""

    json: bool
    xml: bool
    textual: bool
    codec: str | None


def decode_body(encoded: str | None, content_type: str | None, warnings: Warnings) -> Body:
    """Decode a body by its content type and charset. Never raises, for any input."""
    if encoded is None:
        return Body(None, "missing")
    content = content_of(content_type)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        warnings.note(WarningCode.BODY)
        return Body(encoded, "undecodable")
    text = _text(data, content.codec) if data else ""
    if text is None:
        return _undecoded(encoded, content, warnings)
    if not text:
        return Body("", "empty")
    body = _read(text, content, warnings)
    return Body(encoded, "binary") if body.kind == "text" and _CONTROL.search(text) else body


def content_of(content_type: str | None) -> Content:
    """Parse a content type; a missing one is empty."""
    return _content((content_type or "")[:LONGEST_HEADER])


@lru_cache(maxsize=256)
def _content(content_type: str) -> Content:
    media = content_type.partition(";")[0].strip().lower()
    found = _CHARSET.search(content_type)
    json, xml = "json" in media, "xml" in media
    return Content(json, xml, json or xml or media.startswith("text/"), _codec(found[1]) if found else "utf_8")


def _codec(charset: str) -> str | None:
    name = normalize_encoding(charset.lower()).replace(".", "_")
    name = aliases.get(name, name)
    return name if name in _CODECS else None


def _text(data: bytes, codec: str | None) -> str | None:
    """Return the decoded text without a byte order mark, or None if it does not decode."""
    if codec is None:
        return None
    try:
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeError:
        return None


def _undecoded(encoded: str, content: Content, warnings: Warnings) -> Body:
    if not content.textual:
        return Body(encoded, "binary")
    warnings.note(WarningCode.BODY)
    return Body(encoded, "undecodable")


def _read(text: str, content: Content, warnings: Warnings) -> Body:
    start = text.lstrip()[:1]
    if content.json or (start in ("{", "[") and not content.xml):
        return _read_json(text, content, warnings)
    if content.xml or start == "<":
        return _read_xml(text, content, warnings)
    return Body(text, "text")


def _read_json(text: str, content: Content, warnings: Warnings) -> Body:
    try:
        if 4 * len(text) <= LARGEST_JSON or sys.getsizeof(text) <= LARGEST_JSON:
            document = parse(text.encode(), warnings)
            return Body(text, "json", document if isinstance(document, dict) else {})
    except RecordRejected:
        pass
    if content.json:
        warnings.note(WarningCode.BODY)
    return Body(text, "text")


def _read_xml(text: str, content: Content, warnings: Warnings) -> Body:
    try:
        if len(text) <= LONGEST_XML:
            return Body(text, "twiml", {}, twiml_verbs(text))
    except OtherXml:
        return Body(text, "text")
    except expat.ExpatError:
        pass
    if content.xml:
        warnings.note(WarningCode.XML)
    return Body(text, "text")
