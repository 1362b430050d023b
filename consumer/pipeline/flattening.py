"""From a validated event to the flat row. Every oddity becomes a code in `warnings`; none costs the row."""

import re
from typing import Any

from consumer.pipeline.body import decode_body
from consumer.pipeline.redaction import without_password, without_secrets
from consumer.pipeline.times import instant
from consumer.records import Place, rfc3339
from schemas.call_request import CallRequest, Oddity
from schemas.cloudevent import CloudEvent
from schemas.voice_api_request import ODD, Request, Response, VoiceApiRequest

HIGHEST_KNOWN_VERSION = 2
_SCHEMA = re.compile(r"/([A-Za-z0-9_.-]+)/(\d{1,9})(?:\.json)?$")
_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])AC[0-9a-zA-Z]{8,62}(?![A-Za-z0-9])")
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
_PATH = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*([^?#]*)")


class Oddities(list[str]):
    """The codes of one row, each once."""

    def note(self, oddity: Oddity) -> None:
        if oddity.value not in self:
            self.append(oddity.value)

    def plain(self, value: Any, oddity: Oddity = Oddity.FIELD) -> Any:
        """The value, or null with a warning if it was of a wrong type."""
        if value is ODD:
            self.note(oddity)
            return None
        return value

    def time(self, value: Any) -> str | None:
        """A time; null is fine, and any other thing than a time is odd."""
        moment = instant(self.plain(value))
        if moment is None and value is not None and value is not ODD:
            self.note(Oddity.FIELD)
        return moment


def flatten(
    event: CloudEvent, payload: VoiceApiRequest, what: tuple[str, str], place: Place, odd: Oddities
) -> CallRequest:
    """The row of an event; `what` is its resource and its action."""
    request = odd.plain(payload.request) or Request()
    response = odd.plain(payload.response) or Response()
    parameters, url = request.parameters, odd.plain(request.url)
    named = parameters if isinstance(parameters, dict) else {}
    content_type = odd.plain(response.contentType)
    body = decode_body(odd.plain(response.responseBody), content_type)
    if body.oddity is not None:
        odd.note(body.oddity)
    document = body.document or {}
    event_time, requested_at = _event_time(event, odd), odd.time(payload.requestDateCreated)
    if not _SID.fullmatch(payload.sid):
        odd.note(Oddity.SID)
    status, code, message = document.get("status"), document.get("code"), document.get("message")
    return CallRequest(
        event_id=event.id,
        event_source=event.source,
        event_type=event.type,
        event_time=event_time,
        event_schema_version=_schema_version(event, odd),
        resource=what[0],  # type: ignore[typeddict-item]
        action=what[1],  # type: ignore[typeddict-item]
        resource_sid=payload.sid,
        webhook_event_sid=odd.plain(payload.eventSid),
        account_sid=_account(named, url, event.source, document),
        occurred_at=odd.time(payload.timestamp) or event_time or requested_at or rfc3339(place.arrived_at),
        requested_at=requested_at,
        responded_at=odd.time(response.dateCreated),
        request_method=odd.plain(request.method),
        request_url=without_password(url) if url else url,
        request_parameters=without_secrets(parameters),
        to_address=_text(named.get("To")) or _text(document.get("to")),
        from_address=_text(named.get("From")) or _text(document.get("from")),
        response_status=odd.plain(response.responseCode),
        request_duration_ms=odd.plain(response.requestDuration),
        response_content_type=content_type,
        response_body=body.text,
        response_body_kind=body.kind,
        resource_status=_text(status),
        error_code=code if isinstance(code, int) and not isinstance(code, bool) else None,
        error_message=_text(message) if code is not None else None,
        twiml_verbs=body.verbs,
        warnings=odd,
        stream_name=place.stream_name,
        shard_id=place.shard_id,
        sequence_number=str(place.sequence),
        sub_sequence_number=place.sub_sequence,
        event_index=place.event_index,
        partition_key=place.partition_key,
        arrived_at=rfc3339(place.arrived_at),
    )


def _event_time(event: CloudEvent, odd: Oddities) -> str | None:
    moment = instant(event.time)
    if moment is None:
        odd.note(Oddity.TIME)
    if event.specversion != "1.0":
        odd.note(Oddity.SPECVERSION)
    if not isinstance(event.datacontenttype, str) or "json" not in event.datacontenttype.lower():
        odd.note(Oddity.DATACONTENTTYPE)
    return moment


def _schema_version(event: CloudEvent, odd: Oddities) -> int | None:
    found = _SCHEMA.search(event.dataschema) if isinstance(event.dataschema, str) else None
    if found is None:
        odd.note(Oddity.DATASCHEMA)
        return None
    version = int(found[2])
    if version > HIGHEST_KNOWN_VERSION:
        odd.note(Oddity.SCHEMA_VERSION)
    return version


def _account(named: dict[str, Any], url: str | None, source: str, document: dict[str, Any]) -> str | None:
    """The account, from wherever it is said first."""
    if said := _text(named.get("AccountSid")):
        return said
    path = _PATH.match(url or "")
    for text in (path[1] if path else "", source):
        if found := _ACCOUNT.search(text):
            return found[0]
    return _text(document.get("account_sid"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
