"""The location of an event on its stream: the last columns of every row, and the key of every dead letter."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12


class LocationFields(TypedDict):
    """The location of one event."""

    stream_name: Annotated[str, Field(description="The name of the stream.")]
    shard_id: Annotated[str, Field(description="The shard that the record was read from.")]
    sequence_number: Annotated[str, Field(description="The Kinesis record's sequence number.")]
    sub_sequence_number: Annotated[int, Field(description="The index in a KPL aggregate; 0 for a plain record.")]
    event_index: Annotated[int, Field(description="The index in a JSON array; 0 for a single event.")]
    partition_key: Annotated[str, Field(description="The user record's partition key.")]
    arrived_at: Annotated[str, Field(description="When the record arrived at Kinesis.")]
