"""A validated event as typed structs. `flattening` turns it into a row."""

from typing import Any

import msgspec

from schemas.voice_api_request import VoiceApiRequest


class ApiRequest(msgspec.Struct):
    """The request to Twilio's API, or to the customer's server."""

    method: str | None = None
    url: str | None = None
    parameters: dict[str, Any] | None = None


class ApiResponse(msgspec.Struct):
    """The response to that request. `requestDuration` is in milliseconds, `responseBody` base64."""

    responseCode: int | None = None  # noqa: N815 - Twilio's names, here and below
    requestDuration: int | None = None  # noqa: N815
    contentType: str | None = None  # noqa: N815
    responseBody: str | None = None  # noqa: N815
    dateCreated: str | None = None  # noqa: N815


class Payload(msgspec.Struct):
    """The `data` member of an event."""

    sid: str
    requestDateCreated: str | None = None  # noqa: N815
    timestamp: str | None = None
    eventSid: str | None = None  # noqa: N815
    request: ApiRequest | None = None
    response: ApiResponse | None = None


class VoiceEvent(msgspec.Struct):
    """A CloudEvent with a decoded payload. The members from `specversion` on may hold any JSON value."""

    id: str
    source: str
    type: str
    data: Payload
    specversion: Any = None
    time: Any = None
    datacontenttype: Any = None
    dataschema: Any = None
    data_base64: Any = None


def from_document(event: VoiceApiRequest) -> VoiceEvent:
    """Return the event in a validated document. Strings of digits become integers."""
    envelope: dict[str, Any] = {**event}
    payload: dict[str, Any] = {**event["data"]}
    request, response = payload.get("request"), payload.get("response")
    payload["request"] = None if request is None else ApiRequest(**request)
    payload["response"] = None if response is None else ApiResponse(**{**response, **_integers(response)})
    envelope["data"] = Payload(**payload)
    return VoiceEvent(**envelope)


def _integers(response: dict[str, Any]) -> dict[str, int]:
    return {name: int(response[name]) for name in ("responseCode", "requestDuration") if response.get(name)}
