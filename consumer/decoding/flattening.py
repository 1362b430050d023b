"""Flatten a validated event into a row. A defect adds a code to the row's `warnings`; it never rejects the event."""

import re
from functools import lru_cache
from typing import Any

import msgspec

from consumer.decoding.body import decode_body
from consumer.decoding.redaction import without_password, without_secrets
from consumer.decoding.rows import Row
from consumer.decoding.times import from_rfc3339, instant
from consumer.decoding.voice_event import ApiRequest, ApiResponse, VoiceEvent
from consumer.decoding.warnings import Warnings
from consumer.records import EventLocation, from_epoch
from schemas.call_request import WarningCode
from schemas.event_types import EventType

KNOWN_VERSIONS = (1, 2)
LONGEST_NAME = 64  # characters at the end of a schema's URL that are parsed and cached
_SCHEMA = re.compile(r"/Voice\.WebhookEvent/([0-9]{1,9})(?:\.json)?\Z")
_ACCOUNT = re.compile(r"/(?<!//)(AC(?:[0-9A-Fa-f]{8,62}|[0-9A-Za-z]{32}))(?![^/.])")  # a path segment, not a host
SID = re.compile(r"[A-Z]{2}[0-9A-Fa-f]{32}")
# How the URLs of Twilio's API begin, and where the account SID in them ends.
_API = "https://api.twilio.com/2010-04-01/Accounts/"
_API_END = len(_API) + 34
_AFTER_ACCOUNT = ("/", ".")
_NO_REQUEST, _NO_RESPONSE = ApiRequest(), ApiResponse()


def flatten(event: VoiceEvent, event_type: EventType, location: EventLocation, warnings: Warnings) -> msgspec.Struct:
    """Return the row of an event (schemas.call_request). `warnings` becomes the row's `warnings`, with codes added."""
    _note_shape(event, warnings)
    arrived_at = from_epoch(location.arrived_at)
    row: msgspec.Struct = Row(
        *_facts(event, event_type, arrived_at, warnings),
        warnings,
        location.stream_name,
        location.shard_id,
        str(location.sequence),
        location.sub_sequence,
        location.event_index,
        location.partition_key,
        arrived_at,
    )
    return row


def _facts(event: VoiceEvent, event_type: EventType, arrived_at: str, warnings: Warnings) -> tuple[Any, ...]:
    """Return the values that come from the event, in the order of schemas.call_request.Facts."""
    payload = event.data
    request, response = payload.request or _NO_REQUEST, payload.response or _NO_RESPONSE
    url, parameters = request.url, request.parameters
    url, named = url and without_password(url), parameters if isinstance(parameters, dict) else {}
    body = decode_body(response.responseBody, response.contentType, warnings)
    document = body.document
    code = document.get("code")  # only error bodies have it
    event_time, requested_at = _event_time(event.time, warnings), _time(payload.requestDateCreated, warnings)
    return (
        event.id,
        event.source,
        event.type,
        event_time,
        _schema_version(event.dataschema, warnings),
        event_type.resource,
        event_type.action,
        payload.sid,
        payload.eventSid,
        _text(named.get("AccountSid")) or account_in(url, event.source) or _text(document.get("account_sid")),
        _time(payload.timestamp, warnings) or event_time or requested_at or arrived_at,
        requested_at,
        _time(response.dateCreated, warnings),
        request.method,
        url,
        without_secrets(parameters),
        _text(named.get("To")) or _text(document.get("to")),
        _text(named.get("From")) or _text(document.get("from")),
        response.responseCode,
        response.requestDuration,
        response.contentType,
        body.text,
        body.kind,
        _text(document.get("status")),
        None if code is None else error_code(code),
        None if code is None else _text(document.get("message")),
        body.verbs,
    )


def _note_shape(event: VoiceEvent, warnings: Warnings) -> None:
    if event.specversion != "1.0":
        warnings.note(WarningCode.SPECVERSION)
    if event.datacontenttype != "application/json" and not _is_json(event.datacontenttype):
        warnings.note(WarningCode.DATACONTENTTYPE)
    if event.data_base64 is not None:
        warnings.note(WarningCode.DATA_BASE64)
    if not SID.fullmatch(event.data.sid):
        warnings.note(WarningCode.SID)


def _is_json(media_type: Any) -> bool:
    media = media_type.partition(";")[0].strip().lower() if isinstance(media_type, str) else ""
    return media == "application/json" or media.endswith("+json")


def _event_time(value: Any, warnings: Warnings) -> str | None:
    moment = from_rfc3339(value) if isinstance(value, str) else None
    if moment is None:
        warnings.note(WarningCode.TIME)
    return moment


def _time(text: str | None, warnings: Warnings) -> str | None:
    moment = instant(text)
    if moment is None and text is not None:
        warnings.note(WarningCode.FIELD)
    return moment


def _schema_version(dataschema: Any, warnings: Warnings) -> int | None:
    """Return the version at the end of the schema's URL, with any host and with or without `.json`."""
    version = version_in(dataschema[-LONGEST_NAME:]) if isinstance(dataschema, str) else None
    if version is None:
        warnings.note(WarningCode.DATASCHEMA)
    elif version not in KNOWN_VERSIONS:
        warnings.note(WarningCode.SCHEMA_VERSION)
    return version


@lru_cache(maxsize=256)
def version_in(dataschema: str) -> int | None:
    """Return the version at the end of a schema's URL, of which `dataschema` is the end."""
    found = _SCHEMA.search(dataschema)
    return int(found[1]) if found else None


def account_in(url: str | None, source: str) -> str | None:
    """Return the account SID from the path of the URL, or else from the source."""
    if url is not None and url.startswith(_API) and url[_API_END : _API_END + 1] in _AFTER_ACCOUNT:
        account = url[len(_API) : _API_END]
        if _is_account(account):
            return account
    found = _ACCOUNT.search(url.partition("?")[0].partition("#")[0]) if url else None
    found = found or _ACCOUNT.search(source if source.startswith("/") else f"/{source}")
    return found[1] if found else None


@lru_cache(maxsize=256)
def _is_account(text: str) -> bool:
    return _ACCOUNT.fullmatch(f"/{text}") is not None


def error_code(value: Any) -> int | None:
    """Return the `code` of an error body, which may be an integer or a string of digits."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
        return int(value)
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
