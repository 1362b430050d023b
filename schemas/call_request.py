"""The row: one Twilio "Call API Request" event, flat. Version 1: every key is always present, null if absent.

Times are RFC 3339 in UTC with milliseconds and `Z`. An event is identified by (event_source, event_id, event_type), not
by the call's SID, which all events of a call share.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from schemas.event_location import LocationFields

CALL_REQUEST_VERSION = 1

Resource = Literal["call", "conference", "conference_participant"]
Action = Literal["created", "modified", "deleted"]


class WarningCode(StrEnum):
    """A defect of an event that became a row nevertheless. The list is closed; codes do not change."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "WarningCode":
        warning_code = str.__new__(cls, code)
        warning_code._value_, warning_code.meaning = code, meaning
        return warning_code

    SPECVERSION = "odd-specversion", "specversion is missing or not 1.0"
    TIME = "odd-time", "the envelope's time is missing or not RFC 3339"
    DATACONTENTTYPE = "odd-datacontenttype", "datacontenttype is missing or no JSON media type"
    DATASCHEMA = "odd-dataschema", "dataschema is missing or not a version of Voice.WebhookEvent"
    SCHEMA_VERSION = "unknown-schema-version", "the schema's version is neither 1 nor 2"
    DATA_STRING = "data-is-a-string", "data is JSON in a string"
    DATA_BASE64 = "data-is-base64", "there is data_base64, which is read if there is no data"
    SID = "odd-sid", "data.sid is not two capitals and 32 hexadecimal digits"
    FIELD = "odd-field", "a field of the payload has an unexpected type or value, and is null in the row"
    BODY = "odd-body", "the body does not decode, or not to what its content type says"
    XML = "refused-xml", "the body is malformed XML, or XML with a DTD or entities"
    UNICODE = "invalid-unicode", "lone surrogates, or in PostgreSQL NUL characters, replaced by U+FFFD"
    NUMBER = (
        "outsize-number",
        "a real number beyond a double's range, or an integer of more than 4300 digits, kept as text",
    )


MEANINGS = " ".join(f"{warning_code.value}: {warning_code.meaning}." for warning_code in WarningCode)


class Facts(TypedDict):
    """The fields that come from the event."""

    event_id: Annotated[str, Field(description="The envelope's id.")]
    event_source: Annotated[str, Field(description="The envelope's source.")]
    event_type: Annotated[str, Field(description="The envelope's type.")]
    event_time: Annotated[str | None, Field(description="The envelope's time.")]
    event_schema_version: Annotated[int | None, Field(description="The number at the end of dataschema.")]
    resource: Annotated[Resource, Field(description="The kind of resource that the request was about.")]
    action: Annotated[Action, Field(description="The action that was requested.")]
    resource_sid: Annotated[str, Field(description="data.sid")]
    webhook_event_sid: Annotated[str | None, Field(description="data.eventSid")]
    account_sid: Annotated[
        str | None,
        Field(description="From the parameters, the request URL's path, the source, or a JSON body, in this order."),
    ]
    occurred_at: Annotated[
        str, Field(description="data.timestamp, else the event's time, else requestDateCreated, else the arrival.")
    ]
    requested_at: Annotated[str | None, Field(description="data.requestDateCreated")]
    responded_at: Annotated[str | None, Field(description="data.response.dateCreated")]
    request_method: Annotated[str | None, Field(description="data.request.method")]
    request_url: Annotated[str | None, Field(description="data.request.url, with passwords as `***`.")]
    request_parameters: Annotated[
        Any,
        Field(description="data.request.parameters as they came; SipAuthPassword and passwords in URLs are `***`."),
    ]
    to_address: Annotated[str | None, Field(description="The parameter To, else a JSON body's to.")]
    from_address: Annotated[str | None, Field(description="The parameter From, else a JSON body's from.")]
    response_status: Annotated[int | None, Field(description="data.response.responseCode")]
    request_duration_ms: Annotated[int | None, Field(description="data.response.requestDuration")]
    response_content_type: Annotated[str | None, Field(description="data.response.contentType")]
    response_body: Annotated[
        str | None, Field(description="Decoded text; for binary and undecodable the base64 as received.")
    ]
    response_body_kind: Annotated[
        Literal["json", "twiml", "text", "binary", "empty", "missing", "undecodable"],
        Field(description="The kind of body that was found."),
    ]
    resource_status: Annotated[str | None, Field(description="A JSON body's status, if it is a string.")]
    error_code: Annotated[int | None, Field(description="The code of an error body.")]
    error_message: Annotated[str | None, Field(description="The message of an error body.")]
    twiml_verbs: Annotated[list[str] | None, Field(description="The verbs directly under Response, in order.")]


class FactsAndWarnings(Facts):
    """The fields that come from the event, and the warnings about it."""

    warnings: Annotated[list[WarningCode], Field(description="Defects of the event. " + MEANINGS)]


class CallRequest(FactsAndWarnings, LocationFields):
    """One call request: the event, the warnings about it, and its location on the stream."""
