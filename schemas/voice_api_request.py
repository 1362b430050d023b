"""The voice api-request events: an envelope around Voice.WebhookEvent, versions 1 and 2 (only metadata differs).

Each describes a request to Twilio's API and its response:
https://www.twilio.com/docs/events/event-types/voice/call-api-request. Only `sid` is required;
`consumer.decoding.validation` sets other fields to null if they do not fit these shapes.
"""

from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict

from schemas.cloudevent import CloudEvent, Name

Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Digits = Annotated[str, Field(pattern="^[0-9]{1,18}$")]
Number = Int64 | Digits | None


class Request(TypedDict, total=False):
    """The request to Twilio's API."""

    method: str | None
    url: str | None
    parameters: Any


class Response(TypedDict, total=False):
    """The response: the duration in milliseconds, the body in base64, the time in RFC 2822."""

    responseCode: Number
    requestDuration: Number
    contentType: str | None
    responseBody: str | None
    dateCreated: str | None


class WebhookEvent(TypedDict, total=False):
    """The payload. `timestamp` is RFC 3339, `requestDateCreated` RFC 2822."""

    sid: Required[Name]
    requestDateCreated: str | None
    timestamp: str | None
    eventSid: str | None
    request: Request | None
    response: Response | None


class VoiceApiRequest(CloudEvent):
    """The whole event."""

    data: WebhookEvent
