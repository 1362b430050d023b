"""Voice.WebhookEvent, versions 1 and 2 (they differ in metadata only): what was asked of Twilio's API, and the answer.

https://www.twilio.com/docs/events/event-types/voice/call-api-request. Only `sid` is required. A field of a wrong type
is null and its name is in `odd`: no oddity of one field costs the event.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError, ValidationError


def _or_null(value: object, validate: ValidatorFunctionWrapHandler) -> Any:
    """What validates, and `ODD` for what does not."""
    try:
        return validate(value)
    except (ValidationError, PydanticCustomError):
        return ODD


class Odd:
    """Stands for a value of an unexpected type."""


ODD = Odd()

Text = Annotated[str | None, Field(strict=True), WrapValidator(_or_null)]
Digits = Annotated[int | None, WrapValidator(_or_null)]


class Request(BaseModel):
    """The call of Twilio's API."""

    model_config = ConfigDict(extra="ignore")

    method: Text = None
    url: Text = None
    parameters: Any = None


class Response(BaseModel):
    """Its answer."""

    model_config = ConfigDict(extra="ignore")

    responseCode: Digits = None  # noqa: N815 - Twilio's name
    requestDuration: Digits = None  # noqa: N815
    contentType: Text = None  # noqa: N815
    responseBody: Text = None  # noqa: N815
    dateCreated: Text = None  # noqa: N815


class VoiceApiRequest(BaseModel):
    """The payload."""

    model_config = ConfigDict(extra="ignore")

    sid: Annotated[str, StringConstraints(strict=True, min_length=1)]
    requestDateCreated: Text = None  # noqa: N815
    timestamp: Text = None
    eventSid: Text = None  # noqa: N815
    request: Annotated[Request | None, WrapValidator(_or_null)] = None
    response: Annotated[Response | None, WrapValidator(_or_null)] = None
