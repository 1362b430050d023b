"""Encode dead letters for their sink."""

from importlib.metadata import version

import msgspec

from consumer.decoding.redaction import HIDDEN
from consumer.records import DeadLetter, rfc3339

WORKER_VERSION = version("call-request-consumer")


def encode_dead_letter(letter: DeadLetter, rejected_at: float, strict: bool = False) -> bytes:
    """Return a dead letter as a JSON line (schemas.dead_letter) with a newline. `rejected_at` is in epoch seconds.

    `strict`: leave out what may be personal. The location is enough to read the record from the stream again.
    """
    location = letter.location
    document = {
        "reason": letter.reason.value,
        "message": letter.message,
        "stream_name": location.stream_name,
        "shard_id": location.shard_id,
        "sequence_number": str(location.sequence),
        "sub_sequence_number": location.sub_sequence,
        "event_index": location.event_index,
        "partition_key": HIDDEN if strict else location.partition_key,
        "arrived_at": rfc3339(location.arrived_at),
        "data": None if strict else letter.data,  # msgspec encodes bytes in base64
        "rejected_at": rfc3339(rejected_at),
        "worker_version": WORKER_VERSION,
    }
    return msgspec.json.encode(document) + b"\n"
