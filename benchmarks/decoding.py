"""`python -m benchmarks.decoding`: CPU µs an event for each step of the pipeline, best of several rounds.

Every event differs in id, SIDs, times and numbers, as on a stream; what a step needs is made before it is timed.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec

from consumer.decoding.deaggregation import aggregate, deaggregate
from consumer.decoding.decoder import Decoder
from consumer.decoding.fast_path import decode_fast, from_document
from consumer.decoding.flattening import flatten
from consumer.decoding.json_document import parse
from consumer.decoding.validation import validate
from consumer.decoding.warnings import Warnings
from consumer.records import TRIM_HORIZON, EventLocation, Record, Shard
from schemas import examples
from schemas.event_types import EVENT_TYPES

EVENTS = 100  # few, so that a round fits between two interruptions on a busy machine
ROUNDS = 300
PER_AGGREGATE = 20
HALF = (0, 2**127 - 1)  # a shard of two, so that each user record's place among the hashes is looked at
SAY = "<Say>Thank you for calling. Please hold while we connect you to the next available agent.</Say>"


def made(sample: str, twiml: bool) -> list[bytes]:
    """Events after a sample, compact as on the wire; with a TwiML body, or the sample's JSON."""
    event = json.loads(examples.load(sample))
    return [json.dumps(_varied(event, number, twiml), separators=(",", ":")).encode() for number in range(EVENTS)]


def _varied(event: dict[str, Any], number: int, twiml: bool) -> dict[str, Any]:
    moment = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(milliseconds=10 * number)
    stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = event["data"]
    event["id"] = payload["eventSid"] = f"VW{number:032x}"
    event["time"] = payload["timestamp"] = stamp
    payload["sid"] = f"CA{number:032x}"
    payload["requestDateCreated"] = payload["response"]["dateCreated"] = format_datetime(moment)
    if twiml:
        text = f'<?xml version="1.0" encoding="UTF-8"?><Response>{SAY}<Pause length="{number}"/></Response>'
        payload["response"] |= {"contentType": "application/xml;charset=UTF-8"}
        payload["response"]["responseBody"] = base64.b64encode(text.encode()).decode()
    return event


def cost(work: Callable[[Any], object], items: Sequence[Any], events: int = EVENTS) -> float:
    """CPU µs an event, the best of the rounds: on a busy machine the others measure the neighbours."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - began)
    return best / events * 1e6


def steps(events: list[bytes]) -> dict[str, float]:
    """The steps of a plain record, and all of them together as the worker calls them.

    In brackets the two steps that replace the fast path for other events.
    """
    location = EventLocation("stream", "shard", 1, 0, 0, "key", 1.7e9)
    documents = [parse(event, Warnings()) for event in events]
    read = [from_document(validate(document, Warnings())) for document in documents]
    rows = [flatten(event, EVENT_TYPES[event.type], location, Warnings()) for event in read]
    decoder = Decoder("stream", Shard("shard"))
    records = [Record(number, "key", 1.7e9 + number / 100, event) for number, event in enumerate(events)]
    return {
        "(parse)": cost(lambda event: parse(event, Warnings()), events),
        "(validate)": cost(lambda document: from_document(validate(document, Warnings())), documents),
        "fast path": cost(decode_fast, events),
        "flatten": cost(lambda event: flatten(event, EVENT_TYPES[event.type], location, Warnings()), read),
        "encode": cost(msgspec.json.Encoder().encode, rows),
        "whole": cost(lambda record: decoder(record, TRIM_HORIZON), records),
    }


def deaggregation(events: list[bytes]) -> dict[str, float]:
    """The splitting alone, and how much of it is MD5: of the aggregates, and of the partition keys."""
    keys = [f"CA{number:032x}" for number in range(EVENTS)]
    pairs = list(zip(keys, events, strict=True))
    parts = [pairs[start : start + PER_AGGREGATE] for start in range(0, EVENTS, PER_AGGREGATE)]
    records = [Record(number, "key", 1.7e9, aggregate(part)) for number, part in enumerate(parts)]
    return {
        "deaggregate": cost(lambda record: deaggregate(record, HALF), records),
        "of it MD5 of data": cost(lambda record: hashlib.md5(record.data).digest(), records),
        "of it MD5 of keys": cost(lambda key: hashlib.md5(key.encode()).digest(), keys),
    }


def main() -> None:
    """Print a line a step."""
    for sample, twiml in (("live-like-call-created", False), ("live-like-call-modified", True)):
        events = made(sample, twiml)
        print(f"{sample}, {'TwiML' if twiml else 'JSON'} body, {len(events[0])} bytes")
        for name, microseconds in {**steps(events), **deaggregation(events)}.items():
            print(f"  {name:<18} {microseconds:6.2f} µs")


if __name__ == "__main__":
    main()
