"""Turn an event into a row in one typed pass, if it is exactly as Twilio usually sends it.

Anything else is left to `json_document`, `validation` and `flattening`, which define the contract and take several
times as long. Tests check that both ways return equal rows.
"""

from types import NoneType
from typing import Annotated, Any, Literal

import msgspec

from consumer.decoding.body import content_of
from consumer.decoding.flattening import KNOWN_VERSIONS, SID, account_in, error_code, version_in
from consumer.decoding.json_document import BOM, parse_usual
from consumer.decoding.redaction import without_password, without_secrets
from consumer.decoding.rows import Row
from consumer.decoding.times import LONGEST, from_rfc2822, is_usual
from consumer.decoding.twiml import SHORT, plain_verbs, short_plain_verbs
from schemas.event_types import EVENT_TYPES

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Body = tuple[str | None, str, dict[str, Any], list[str] | None]  # text, kind, members of a JSON object, verbs
_NO_MEMBERS: dict[str, Any] = {}
_NO_WARNINGS: list[str] = []
_TEXT = {str, NoneType}


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    method: str | None = None
    url: str | None = None
    parameters: dict[str, str | list[str]] | None = None


class _Response(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    responseCode: _Int64 | None = None  # noqa: N815 - Twilio's names, here and below
    requestDuration: _Int64 | None = None  # noqa: N815
    contentType: str | None = None  # noqa: N815
    responseBody: bytes | None = None  # noqa: N815
    dateCreated: str | None = None  # noqa: N815


class _Payload(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    sid: str
    request: _Request
    response: _Response
    requestDateCreated: str | None = None  # noqa: N815
    timestamp: str | None = None
    eventSid: str | None = None  # noqa: N815


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: _Name
    source: _Name
    type: Literal[tuple(EVENT_TYPES)]  # type: ignore[valid-type]
    data: _Payload
    time: str
    dataschema: str
    specversion: Literal["1.0"]
    datacontenttype: Literal["application/json"]


_decode = msgspec.json.Decoder(_Event).decode


class _Unusual(Exception):
    """The event needs the careful way."""


class FastPath:
    """The fast path for the events of one shard."""

    def __init__(self, stream_name: str, shard_id: str) -> None:
        self._stream_name, self._shard_id = stream_name, shard_id

    def __call__(
        self, data: bytes, sequence: str, sub_sequence: int, partition_key: str, arrived_at: str
    ) -> msgspec.Struct | None:
        """Return the row of the event in `data`, or None if it needs the careful way."""
        try:
            return self._row(_decode(data), sequence, sub_sequence, partition_key, arrived_at)
        except Exception:  # the careful way decides
            return None

    def _row(
        self, event: _Event, sequence: str, sub_sequence: int, partition_key: str, arrived_at: str
    ) -> msgspec.Struct:
        payload = event.data
        request, response = payload.request, payload.response
        text, kind, document, verbs = _body(response)
        event_time, version = event.time, version_in(event.dataschema[-64:])
        if version not in KNOWN_VERSIONS or not is_usual(event_time) or not SID.fullmatch(payload.sid):
            raise _Unusual
        url = request.url and without_password(request.url)
        named: dict[str, Any] = request.parameters or _NO_MEMBERS
        account = named.get("AccountSid") or account_in(url, event.source) or document.get("account_sid") or None
        to = named.get("To") or document.get("to") or None
        from_ = named.get("From") or document.get("from") or None
        status, code, message = document.get("status") or None, document.get("code"), None
        if type(status) is not str:  # a number, in the body of an error
            status = None
        if code is not None:
            code, message = error_code(code), document.get("message") or None
        if not {type(account), type(to), type(from_), type(message)} <= _TEXT:
            raise _Unusual
        kind_of = EVENT_TYPES[event.type]
        # fmt: off
        row: msgspec.Struct = Row(
            event.id, event.source, event.type, event_time, version, kind_of.resource, kind_of.action,
            payload.sid, payload.eventSid, account,
            _rfc3339(payload.timestamp) or event_time,
            _rfc2822(payload.requestDateCreated), _rfc2822(response.dateCreated),
            request.method, url, without_secrets(request.parameters), to, from_,
            response.responseCode, response.requestDuration, response.contentType,
            text, kind, status, code, message, verbs, _NO_WARNINGS,
            self._stream_name, self._shard_id, sequence, sub_sequence, 0, partition_key, arrived_at,
        )
        # fmt: on
        return row


def _rfc3339(text: str | None) -> str | None:
    if text is None or is_usual(text):
        return text
    raise _Unusual


def _rfc2822(text: str | None) -> str | None:
    if text is None:
        return None
    moment = from_rfc2822(text) if len(text) <= LONGEST else None
    if moment is None:
        raise _Unusual
    return moment


def _body(response: _Response) -> _Body:
    """Decode a body of JSON or plain TwiML in UTF-8, as `body.decode_body` does."""
    data = response.responseBody
    if not data:
        return (None, "missing", _NO_MEMBERS, None) if data is None else ("", "empty", _NO_MEMBERS, None)
    content = content_of(response.contentType)
    if content.codec != "utf_8" or data.startswith(BOM):
        raise _Unusual
    text = data.decode()
    if content.json:
        return text, "json", _members(data), None
    verbs = None
    if content.xml:
        verbs = (short_plain_verbs if len(text) <= SHORT else plain_verbs)(text.lstrip())
    if verbs is None:
        raise _Unusual
    return text, "twiml", _NO_MEMBERS, verbs


def _members(data: bytes) -> dict[str, Any]:
    document = parse_usual(data)
    if type(document) is not dict:
        raise _Unusual
    return document
