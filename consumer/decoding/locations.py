"""Read where rows come from: their location is in their lines."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from consumer.decoding.rows import encode_row
from consumer.records import Block, EventLocation
from schemas.event_location import LocationFields


class EncodedRow(msgspec.Struct, frozen=True, gc=False):
    """One row as a JSON line with a newline, and the location of its event."""

    line: bytes
    location: EventLocation


_decode = msgspec.json.Decoder(LocationFields).decode_lines


def encoded_row(row: msgspec.Struct | bytes) -> EncodedRow:
    """Return a row, which may be encoded already, with its location."""
    line = (row if isinstance(row, bytes) else encode_row(row)) + b"\n"
    return EncodedRow(line, locations_of(Block(line, 1))[0])


def locations_of(block: Block) -> Sequence[EventLocation]:
    """Return the location of each row of a block."""
    return [
        EventLocation(
            row["stream_name"],
            row["shard_id"],
            int(row["sequence_number"]),
            row["sub_sequence_number"],
            row["event_index"],
            row["partition_key"],
            datetime.fromisoformat(row["arrived_at"]).timestamp(),
        )
        for row in _decode(block.lines)
    ]
