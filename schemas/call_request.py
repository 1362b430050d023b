"""The row: one Twilio "Call API Request" event, flat. Version 1; keys are always present, absent is null.

Times are RFC 3339 in UTC with milliseconds and `Z`. An event's identity is (event_source, event_id, event_type), never
the call's SID: created, modified and callbacks share that.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

CALL_REQUEST_VERSION = 1


class Oddity(StrEnum):
    """What was odd about an event that became a row all the same. The list is closed; codes do not change."""

    SPECVERSION = "odd-specversion"  # missing or not "1.0"
    TIME = "odd-time"  # envelope `time` missing or not RFC 3339
    DATACONTENTTYPE = "odd-datacontenttype"  # missing or not a JSON media type; the documented examples hold a time
    DATASCHEMA = "odd-dataschema"  # missing, or not a Twilio schema URL
    SCHEMA_VERSION = "unknown-schema-version"  # higher than 2, the highest known
    DATA_STRING = "data-is-a-string"  # `data` is JSON in a string
    DATA_BASE64 = "data-is-base64"  # `data_base64` instead of `data`
    SID = "odd-sid"  # not two letters and 32 hexadecimal digits
    FIELD = "odd-field"  # a field of the payload has an unexpected type or value; it is null in the row
    BODY = "odd-body"  # the body does not decode, or not as its content type says
    XML = "refused-xml"  # malformed XML, or XML with a DTD or entities
    UNICODE = "invalid-unicode"  # lone surrogates, replaced by U+FFFD


class CallRequest(TypedDict):
    """One call request."""

    event_id: Annotated[str, Field(description="The envelope's id.")]
    event_source: Annotated[str, Field(description="The envelope's source.")]
    event_type: Annotated[str, Field(description="The envelope's type.")]
    event_time: Annotated[str | None, Field(description="The envelope's time.")]
    event_schema_version: Annotated[int | None, Field(description="The number at the end of dataschema.")]
    resource: Annotated[Literal["call", "conference", "conference_participant"], Field(description="What it is about.")]
    action: Annotated[Literal["created", "modified", "deleted"], Field(description="What was asked for.")]
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
    request_url: Annotated[str | None, Field(description="data.request.url; a password in it is `***`.")]
    request_parameters: Annotated[Any, Field(description="As they came; SipAuthPassword is `***`.")]
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
        Field(description="What the body turned out to be."),
    ]
    resource_status: Annotated[str | None, Field(description="A JSON body's status, if it is a string.")]
    error_code: Annotated[int | None, Field(description="The code of an error body.")]
    error_message: Annotated[str | None, Field(description="The message of an error body.")]
    twiml_verbs: Annotated[list[str] | None, Field(description="The verbs directly under Response, in order.")]
    warnings: Annotated[list[str], Field(description="What was odd: codes of schemas.call_request.Oddity.")]
    stream_name: Annotated[str, Field(description="Where it stood: the stream,")]
    shard_id: Annotated[str, Field(description="the shard,")]
    sequence_number: Annotated[str, Field(description="the record,")]
    sub_sequence_number: Annotated[int, Field(description="the user record in a KPL aggregate,")]
    event_index: Annotated[int, Field(description="and the element of a JSON array.")]
    partition_key: Annotated[str, Field(description="The user record's partition key.")]
    arrived_at: Annotated[str, Field(description="When Kinesis took the record.")]
