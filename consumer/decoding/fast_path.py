"""Parse and validate an event of the usual shape in one pass over its bytes.

Twilio's real events fit these structs exactly, and take 1.8 µs here instead of 7 µs in `json_document` and
`validation`. Any other event, such as one with an unknown member or a lone surrogate, is left to those two modules,
which define the contract. Tests check that both ways return equal events.
"""

from typing import Annotated, Any

import msgspec

from schemas.voice_api_request import VoiceApiRequest

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class ApiRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The request to Twilio's API, or to the customer's server."""

    method: str | None = None
    url: str | None = None
    parameters: dict[str, str | list[str]] | None = None


class ApiResponse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The response to that request. `requestDuration` is in milliseconds, `responseBody` base64."""

    responseCode: _Int64 | None = None  # noqa: N815 - Twilio's names, here and below
    requestDuration: _Int64 | None = None  # noqa: N815
    contentType: str | None = None  # noqa: N815
    responseBody: str | None = None  # noqa: N815
    dateCreated: str | None = None  # noqa: N815


class Payload(msgspec.Struct, forbid_unknown_fields=True):
    """The `data` member of an event."""

    sid: _Name
    requestDateCreated: str | None = None  # noqa: N815
    timestamp: str | None = None
    eventSid: str | None = None  # noqa: N815
    request: ApiRequest | None = None
    response: ApiResponse | None = None


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """A CloudEvent with a decoded payload. `from_document` checks no types, so a member may hold any JSON value."""

    id: _Name
    source: _Name
    type: _Name
    data: Payload
    specversion: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data_base64: None = None


_decode = msgspec.json.Decoder(Event).decode


def decode_fast(data: bytes) -> Event | None:
    """Return the event in `data`, or None if it does not fit the structs exactly."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def from_document(event: VoiceApiRequest) -> Event:
    """Return the event in a validated document, as `decode_fast` would. Strings of digits become integers."""
    envelope: dict[str, Any] = {**event}
    payload: dict[str, Any] = {**event["data"]}
    request, response = payload.get("request"), payload.get("response")
    payload["request"] = None if request is None else ApiRequest(**request)
    payload["response"] = None if response is None else ApiResponse(**{**response, **_integers(response)})
    envelope["data"] = Payload(**payload)
    return Event(**envelope)


def _integers(response: dict[str, Any]) -> dict[str, int]:
    return {name: int(response[name]) for name in ("responseCode", "requestDuration") if response.get(name)}
