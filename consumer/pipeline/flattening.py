"""From a validated event to the flat row. Every oddity becomes a code in `warnings`; none costs the row."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from consumer.pipeline.body import decode_body
from consumer.pipeline.oddities import Oddities
from consumer.pipeline.redaction import without_password, without_secrets
from consumer.pipeline.times import from_rfc3339, instant
from consumer.records import Place, rfc3339
from schemas.call_request import Action, CallRequest, Facts, Oddity, Resource
from schemas.voice_api_request import Request, Response, VoiceApiRequest

KNOWN_VERSIONS = (1, 2)
LONGEST_NAME = 64  # characters of a schema's URL, from its end, that are looked at and kept
_SCHEMA = re.compile(r"/Voice\.WebhookEvent/([0-9]{1,9})(?:\.json)?\Z")
_ACCOUNT = re.compile(r"/(?<!//)(AC[0-9A-Za-z]{8,62})(?![^/.])")  # a segment of a path, no host
_SID = re.compile(r"[A-Z]{2}[0-9A-Fa-f]{32}")
_NO_REQUEST: Request = {}
_NO_RESPONSE: Response = {}


class Family(NamedTuple):
    """What an event type is about, and what was done to it."""

    resource: Resource
    action: Action


class Answer(NamedTuple):
    """What a JSON body tells."""

    account_sid: str | None = None
    to: str | None = None
    from_: str | None = None
    status: str | None = None
    error_code: int | None = None
    error_message: str | None = None


_NO_ANSWER = Answer()


def flatten(event: VoiceApiRequest, what: Family, place: Place, odd: Oddities) -> CallRequest:
    """The row of an event; what is odd about it is noted in `odd`, the row's warnings."""
    _note_shape(event, odd)
    arrived_at = rfc3339(place.arrived_at)
    return {
        **_facts(event, what, arrived_at, odd),
        "warnings": odd,
        "stream_name": place.stream_name,
        "shard_id": place.shard_id,
        "sequence_number": str(place.sequence),
        "sub_sequence_number": place.sub_sequence,
        "event_index": place.event_index,
        "partition_key": place.partition_key,
        "arrived_at": arrived_at,
    }


def _facts(event: VoiceApiRequest, what: Family, arrived_at: str, odd: Oddities) -> Facts:
    payload = event["data"]
    request, response = payload.get("request") or _NO_REQUEST, payload.get("response") or _NO_RESPONSE
    url, parameters = request.get("url"), request.get("parameters")
    url, named = url and without_password(url), parameters if isinstance(parameters, dict) else {}
    body = decode_body(response.get("responseBody"), response.get("contentType"), odd)
    answer = _answer(body.document) if body.document else _NO_ANSWER
    event_time, requested_at = _event_time(event.get("time"), odd), _time(payload.get("requestDateCreated"), odd)
    return {
        "event_id": event["id"],
        "event_source": event["source"],
        "event_type": event["type"],
        "event_time": event_time,
        "event_schema_version": _schema_version(event.get("dataschema"), odd),
        "resource": what.resource,
        "action": what.action,
        "resource_sid": payload["sid"],
        "webhook_event_sid": payload.get("eventSid"),
        "account_sid": _text(named.get("AccountSid")) or _account(url, event["source"]) or answer.account_sid,
        "occurred_at": _time(payload.get("timestamp"), odd) or event_time or requested_at or arrived_at,
        "requested_at": requested_at,
        "responded_at": _time(response.get("dateCreated"), odd),
        "request_method": request.get("method"),
        "request_url": url,
        "request_parameters": without_secrets(parameters),
        "to_address": _text(named.get("To")) or answer.to,
        "from_address": _text(named.get("From")) or answer.from_,
        "response_status": _integer(response.get("responseCode")),
        "request_duration_ms": _integer(response.get("requestDuration")),
        "response_content_type": response.get("contentType"),
        "response_body": body.text,
        "response_body_kind": body.kind,
        "resource_status": answer.status,
        "error_code": answer.error_code,
        "error_message": answer.error_message,
        "twiml_verbs": body.verbs,
    }


def _note_shape(event: VoiceApiRequest, odd: Oddities) -> None:
    if event.get("specversion") != "1.0":
        odd.note(Oddity.SPECVERSION)
    media_type = event.get("datacontenttype")
    if media_type != "application/json" and not _is_json(media_type):
        odd.note(Oddity.DATACONTENTTYPE)
    if event.get("data_base64") is not None:
        odd.note(Oddity.DATA_BASE64)
    if not _SID.fullmatch(event["data"]["sid"]):
        odd.note(Oddity.SID)


def _is_json(media_type: Any) -> bool:
    media = media_type.partition(";")[0].strip().lower() if isinstance(media_type, str) else ""
    return media == "application/json" or media.endswith("+json")


def _event_time(value: Any, odd: Oddities) -> str | None:
    moment = from_rfc3339(value) if isinstance(value, str) else None
    if moment is None:
        odd.note(Oddity.TIME)
    return moment


def _time(text: str | None, odd: Oddities) -> str | None:
    moment = instant(text)
    if moment is None and text is not None:
        odd.note(Oddity.FIELD)
    return moment


def _schema_version(dataschema: Any, odd: Oddities) -> int | None:
    """The version; a `.json` suffix and any host are allowed."""
    version = _version_in(dataschema[-LONGEST_NAME:]) if isinstance(dataschema, str) else None
    if version is None:
        odd.note(Oddity.DATASCHEMA)
    elif version not in KNOWN_VERSIONS:
        odd.note(Oddity.SCHEMA_VERSION)
    return version


@lru_cache(maxsize=256)
def _version_in(dataschema: str) -> int | None:
    found = _SCHEMA.search(dataschema)
    return int(found[1]) if found else None


def _account(url: str | None, source: str) -> str | None:
    """An account's SID in the path of the URL, else in the source."""
    found = _ACCOUNT.search(url.partition("?")[0].partition("#")[0]) if url else None
    found = found or _ACCOUNT.search(source if source.startswith("/") else f"/{source}")
    return found[1] if found else None


def _integer(number: int | str | None) -> int | None:
    return int(number) if isinstance(number, str) else number


def _answer(document: Mapping[str, Any]) -> Answer:
    """An error body is one with a `code`."""
    code, message = document.get("code"), document.get("message")
    return Answer(
        _text(document.get("account_sid")),
        _text(document.get("to")),
        _text(document.get("from")),
        _text(document.get("status")),
        None if code is None else _error_code(code),
        None if code is None else _text(message),
    )


def _error_code(value: Any) -> int | None:
    """The `code` of an error body: an integer, or its digits."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
        return int(value)
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
