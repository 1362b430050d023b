"""The event of the plain loop and of async-kinesis: a pydantic model as an ordinary engineer writes it."""

import base64
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator


def _date(value: Any) -> Any:
    return parsedate_to_datetime(value) if isinstance(value, str) else value


Rfc2822 = Annotated[datetime, BeforeValidator(_date)]


class Request(BaseModel):
    method: str
    url: str
    parameters: dict[str, Any]


class Response(BaseModel):
    responseCode: int  # noqa: N815 - Twilio's names
    requestDuration: int | None = None  # noqa: N815
    contentType: str | None = None  # noqa: N815
    responseBody: str | None = None  # noqa: N815
    dateCreated: Rfc2822 | None = None  # noqa: N815


class Data(BaseModel):
    sid: str
    requestDateCreated: Rfc2822 | None = None  # noqa: N815
    timestamp: datetime
    eventSid: str  # noqa: N815
    request: Request
    response: Response


class Event(BaseModel):
    specversion: str
    type: str
    source: str
    id: str
    dataschema: str
    time: datetime
    data: Data


def row_of(event: Event) -> dict[str, Any]:
    data, request, response = event.data, event.data.request, event.data.response
    return {
        "event_id": event.id,
        "event_source": event.source,
        "event_type": event.type,
        "event_time": event.time.isoformat(),
        "call_sid": data.sid,
        "webhook_event_sid": data.eventSid,
        "occurred_at": data.timestamp.isoformat(),
        "requested_at": data.requestDateCreated and data.requestDateCreated.isoformat(),
        "responded_at": response.dateCreated and response.dateCreated.isoformat(),
        "method": request.method,
        "url": request.url,
        "parameters": request.parameters,
        "status": response.responseCode,
        "duration_ms": response.requestDuration,
        "content_type": response.contentType,
        "body": base64.b64decode(response.responseBody).decode() if response.responseBody else None,
    }
