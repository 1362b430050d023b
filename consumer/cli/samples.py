"""Events to try things with, and how they are put on a stream."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from consumer.pipeline.deaggregation import aggregate
from schemas import examples

# AWS PutRecords: at most 500 records and 5 MiB a call.
MOST_A_CALL = 500


def numbered(count: int) -> Iterator[bytes]:
    """Call Created events that differ in id and SID."""
    sample = json.loads(examples.load("live-like-call-created"))
    for number in range(count):
        sample["id"] = sample["data"]["eventSid"] = f"VW{number:032x}"
        sample["data"]["sid"] = f"CA{number:032x}"
        yield json.dumps(sample).encode()


def records(events: Sequence[bytes], per_record: int = 1) -> list[bytes]:
    """Kinesis records of these events: plain, or KPL aggregates of `per_record` events each."""
    if per_record <= 1:
        return list(events)
    rest = iter(events)
    made: list[bytes] = []
    while part := list(islice(rest, per_record)):
        made.append(aggregate([(str(len(made)), event) for event in part]))
    return made


def put(client: Any, stream: str, data: Sequence[bytes]) -> Iterator[int]:
    """Put records on a stream, and again what it refused; yields how many each call brought there."""
    target = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}
    entries = [{"Data": item, "PartitionKey": str(number)} for number, item in enumerate(data)]
    while entries:
        part, entries = entries[:MOST_A_CALL], entries[MOST_A_CALL:]
        answers = client.put_records(Records=part, **target)["Records"]
        refused = [entry for entry, answer in zip(part, answers, strict=True) if answer.get("ErrorCode")]
        yield len(part) - len(refused)
        entries = refused + entries
