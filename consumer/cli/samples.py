"""Make sample events, and put events on a stream."""

import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from consumer.decoding.deaggregation import aggregate
from consumer.errors import ConfigurationError
from consumer.runtime.backoff import RetryPolicy
from schemas import examples

# AWS PutRecords: at most 500 records and 5 MiB per call.
MOST_PER_CALL = 500
MOST_FAILURES = 5  # calls in a row that put no record, before we give up
# Kinesis rejects records above 1 MB per second and shard; a part of that second is enough for some of them.
RETRIES = RetryPolicy(first=0.1, most=1.6)


def numbered(count: int, first: int = 0) -> Iterator[bytes]:
    """Yield Call Created events; their ids and SIDs contain the numbers from `first` on."""
    sample = json.loads(examples.load("live-like-call-created"))
    for number in range(first, first + count):
        sample["id"] = sample["data"]["eventSid"] = f"VW{number:032x}"
        sample["data"]["sid"] = f"CA{number:032x}"
        yield json.dumps(sample).encode()


def records(events: Sequence[bytes], per_record: int = 1) -> list[bytes]:
    """Return Kinesis records of these events: plain, or KPL aggregates of `per_record` events each."""
    if per_record <= 1:
        return list(events)
    rest = iter(events)
    made: list[bytes] = []
    while part := list(islice(rest, per_record)):
        made.append(aggregate([(str(len(made)), event) for event in part]))
    return made


def put(client: Any, stream: str, data: Sequence[bytes]) -> Iterator[int]:
    """Put records on a stream, and retry rejected ones; yield how many each call put there.

    Raises:
        ConfigurationError: the stream rejects the rest, for example a record that is too large.
    """
    target = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}
    entries = [{"Data": item, "PartitionKey": str(number)} for number, item in enumerate(data)]
    failures = 0
    while entries:
        part, entries = entries[:MOST_PER_CALL], entries[MOST_PER_CALL:]
        responses = client.put_records(Records=part, **target).get("Records")
        if responses is None:  # botocore takes half a response for an empty one
            raise ConfigurationError(f"stream {stream}: PutRecords: the response is incomplete")
        rejected = [entry for entry, response in zip(part, responses, strict=True) if response.get("ErrorCode")]
        yield len(part) - len(rejected)
        entries = rejected + entries
        failures = failures + 1 if len(rejected) == len(part) else 0
        if failures == MOST_FAILURES:
            codes = sorted({str(response["ErrorCode"]) for response in responses})
            raise ConfigurationError(f"stream {stream} rejects {len(entries)} records: {', '.join(codes)}")
        if rejected:
            time.sleep(RETRIES.longest(failures))
