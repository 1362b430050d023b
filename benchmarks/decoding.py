"""Measure the CPU µs per event of each decoding step: `python -m benchmarks.decoding`.

Events differ in id, SIDs, times and numbers, as on a stream. The input of a step is made before the step is timed.
"""

import base64
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from consumer.decoding.deaggregation import aggregate, deaggregate
from consumer.decoding.decoder import Decoder
from consumer.decoding.fast_path import FastPath
from consumer.decoding.flattening import flatten
from consumer.decoding.json_document import parse
from consumer.decoding.rows import encode_row, encode_rows
from consumer.decoding.validation import validate
from consumer.decoding.voice_event import from_document
from consumer.decoding.warnings import Warnings
from consumer.records import TRIM_HORIZON, EventLocation, Record, Shard, from_epoch
from schemas import examples
from schemas.event_types import EVENT_TYPES

EVENTS = 100  # few, so that a round fits between two interruptions on a busy machine
ROUNDS = 300
PER_AGGREGATE = 20
HALF = (0, 2**127 - 1)  # half of all hash keys, so that each user record's hash key is checked
SAY = "<Say>Thank you for calling. Please hold while we connect you to the next available agent.</Say>"


def made(sample: str, twiml: bool) -> list[bytes]:
    """Return variants of a sample in compact JSON, with a TwiML body or with the sample's JSON body."""
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
    """Return CPU µs per event of the best round: on a busy machine, other processes slow down the other rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - began)
    return best / events * 1e6


def steps(events: list[bytes]) -> dict[str, float]:
    """Return CPU µs per event of each step for plain records. "whole" is all steps as the worker calls them.

    The four steps in brackets replace the fast path and its encoding for unusual events.
    """
    location, arrived_at = EventLocation("stream", "shard", 1, 0, 0, "key", 1.7e9), from_epoch(1.7e9)
    documents = [parse(event, Warnings()) for event in events]
    read = [from_document(validate(document, Warnings())) for document in documents]
    careful = [flatten(event, EVENT_TYPES[event.type], location, Warnings()) for event in read]
    fast = FastPath("stream", "shard")
    rows = [row for event in events if (row := fast(event, "1", 0, "key", arrived_at)) is not None]
    records = [Record(number, "key", 1.7e9 + number / 100, event) for number, event in enumerate(events)]
    return {
        "(parse)": cost(lambda event: parse(event, Warnings()), events),
        "(validate)": cost(lambda document: from_document(validate(document, Warnings())), documents),
        "(flatten)": cost(lambda event: flatten(event, EVENT_TYPES[event.type], location, Warnings()), read),
        "(encode)": cost(encode_row, careful),
        "fast path": cost(lambda event: fast(event, "1", 0, "key", arrived_at), events),
        "encode": cost(encode_rows, [rows]),
        "whole": cost(_decode_all, [records]),
    }


def _decode_all(records: Sequence[Record]) -> None:
    decoder, backlog = Decoder("stream", Shard("shard")), deque(records)
    while backlog:
        for _ in decoder(backlog, TRIM_HORIZON, len(backlog)):
            pass


def deaggregation(events: list[bytes]) -> dict[str, float]:
    """Return CPU µs per event of deaggregation, and of the MD5 of aggregates and of partition keys in it."""
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
    """Print a line for each step."""
    for sample, twiml in (("live-like-call-created", False), ("live-like-call-modified", True)):
        events = made(sample, twiml)
        print(f"{sample}, {'TwiML' if twiml else 'JSON'} body, {len(events[0])} bytes")
        for name, microseconds in {**steps(events), **deaggregation(events)}.items():
            print(f"  {name:<18} {microseconds:6.2f} µs")


if __name__ == "__main__":
    main()
