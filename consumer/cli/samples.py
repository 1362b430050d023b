"""Events to try things with, and how they are put on a stream."""

import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from consumer.decoding.deaggregation import aggregate
from consumer.errors import ConfigurationError
from schemas import examples

# AWS PutRecords: at most 500 records and 5 MiB a call.
MOST_A_CALL = 500
MOST_FRUITLESS = 5  # calls in a row that bring nothing there, before it is given up
FIRST_WAIT = 0.1  # seconds, doubled with each of them


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
    """Put records on a stream, and again what it refused; yields how many each call brought there.

    Raises:
        ConfigurationError: the stream takes nothing more, such as a record that is too large for it.
    """
    target = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}
    entries = [{"Data": item, "PartitionKey": str(number)} for number, item in enumerate(data)]
    fruitless = 0
    while entries:
        part, entries = entries[:MOST_A_CALL], entries[MOST_A_CALL:]
        answers = client.put_records(Records=part, **target)["Records"]
        refused = [entry for entry, answer in zip(part, answers, strict=True) if answer.get("ErrorCode")]
        yield len(part) - len(refused)
        entries = refused + entries
        fruitless = fruitless + 1 if len(refused) == len(part) else 0
        if fruitless == MOST_FRUITLESS:
            codes = sorted({str(answer["ErrorCode"]) for answer in answers})
            raise ConfigurationError(f"stream {stream} refuses {len(entries)} records: {', '.join(codes)}")
        if refused:
            time.sleep(FIRST_WAIT * 2**fruitless)
