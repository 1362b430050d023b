"""The dead letter: what could not become a row, with its bytes and its place. Its key is its place and its reason."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12


class DeadLetter(TypedDict):
    """One dead letter."""

    reason: Annotated[
        Literal["not-json", "not-cloudevent", "invalid-event", "corrupt-aggregate", "sink-rejected", "internal-error"],
        Field(description="Why it is one."),
    ]
    message: Annotated[str, Field(description="The same in words, without values of the event.")]
    stream_name: Annotated[str, Field(description="The stream on which it stood.")]
    shard_id: Annotated[str, Field(description="The shard of the stream.")]
    sequence_number: Annotated[str, Field(description="The Kinesis record's sequence number.")]
    sub_sequence_number: Annotated[int, Field(description="Its place in a KPL aggregate; 0 for a plain record.")]
    event_index: Annotated[int, Field(description="Its place in a JSON array; 0 for a single event.")]
    partition_key: Annotated[str, Field(description="The user record's partition key.")]
    arrived_at: Annotated[str, Field(description="When Kinesis took the record.")]
    data: Annotated[str, Field(description="Base64 of the user record; of the whole record for corrupt-aggregate.")]
    rejected_at: Annotated[str, Field(description="When it became a dead letter.")]
    worker_version: Annotated[str, Field(description="The version of this program.")]
