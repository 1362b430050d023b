"""Serve a stream from memory in a separate process, so that the server's CPU is not counted.

The stub implements the JSON 1.1 requests of a reader. It encodes all records before the first request. It does not
throttle: the limits of AWS, five reads and 2 MiB per second and shard, would hide how fast a reader is.
"""

import argparse
import base64
import json
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

from benchmarks.events import STREAM, Event, events
from consumer.decoding.deaggregation import aggregate

FIRST_SEQUENCE = 49 * 10**54
HISTORY = 3600.0  # seconds from the first event to the last, which arrives as the stub starts


class Shard:
    """One shard. Its records are encoded side by side in one buffer, so a response is a slice of it."""

    def __init__(self, number: int, of: int) -> None:
        self.shard_id, self._number = f"shardId-{number:012d}", number
        self.hash_range = (number * 2**128 // of, (number + 1) * 2**128 // of - 1)
        self.sequences: list[int] = []
        self._arrivals: list[float] = []
        self._baked = bytearray()
        self._starts = [0]

    def put(self, record: Event) -> None:
        """Add a record."""
        sequence = FIRST_SEQUENCE + (len(self.sequences) + 1 << 40) + self._number
        self._baked += (
            f'{{"ApproximateArrivalTimestamp":{record.at:.3f},"Data":"{base64.b64encode(record.data).decode()}",'
            f'"PartitionKey":"{record.partition_key}","SequenceNumber":"{sequence}"}},'
        ).encode()
        self.sequences.append(sequence)
        self._arrivals.append(round(record.at, 3))
        self._starts.append(len(self._baked))

    def find(self, asked: dict[str, Any]) -> int:
        """Return the index of the record that a GetShardIterator request names. Raise KeyError for an unknown type."""
        kind = asked["ShardIteratorType"]
        found: dict[str, Callable[[], int]] = {
            "TRIM_HORIZON": lambda: 0,
            "LATEST": lambda: len(self.sequences),
            "AT_TIMESTAMP": lambda: bisect_left(self._arrivals, asked["Timestamp"]),
            "AT_SEQUENCE_NUMBER": lambda: bisect_left(self.sequences, int(asked["StartingSequenceNumber"])),
            "AFTER_SEQUENCE_NUMBER": lambda: bisect_right(self.sequences, int(asked["StartingSequenceNumber"])),
        }
        return found[kind]()

    def answer(self, start: int, most: int) -> Iterator[bytes | memoryview]:
        """Yield a GetRecords response from record `start` on, in pieces."""
        stop = min(start + most, len(self.sequences))
        behind = 0 if stop == len(self.sequences) else round((time.time() - self._arrivals[stop]) * 1000)
        following = iterator_to(self._number, stop)
        yield f'{{"MillisBehindLatest":{behind},"NextShardIterator":"{following}","Records":['.encode()
        yield memoryview(self._baked)[self._starts[start] : max(self._starts[start], self._starts[stop] - 1)]
        yield b"]}"

    def listed(self) -> dict[str, Any]:
        """Return the shard as in a ListShards response."""
        first, last = self.hash_range
        return {
            "ShardId": self.shard_id,
            "HashKeyRange": {"StartingHashKey": str(first), "EndingHashKey": str(last)},
            "SequenceNumberRange": {"StartingSequenceNumber": str(FIRST_SEQUENCE)},
        }


def iterator_to(shard: int, index: int) -> str:
    """Return an opaque iterator, about as long as those of AWS."""
    return base64.b64encode(f"{shard}:{index}:".ljust(160, "-").encode()).decode()


def _iterator(text: str) -> tuple[int, int]:
    shard, index, _ = base64.b64decode(text).decode().split(":")
    return int(shard), int(index)


def bake(shards: int, count: int, per_record: int, began: float) -> list[Shard]:
    """Return shards with `count` events in total. A `per_record` above 1 puts that many into each KPL aggregate."""
    made = [Shard(number, shards) for number in range(shards)]
    for number, shard in enumerate(made):
        for record in _records(events(number, count // shards, began - HISTORY, began), per_record):
            shard.put(record)
    return made


def _records(made: Iterable[Event], per_record: int) -> Iterator[Event]:
    rest = iter(made)
    while part := list(islice(rest, per_record)):
        if per_record == 1:
            yield part[0]
        else:
            yield Event(part[-1].at, "a", aggregate([(event.partition_key, event.data) for event in part]))


class RecordRejected(Exception):
    """An error response. Its argument is the name of the error in AWS."""


class Stub(ThreadingHTTPServer):
    """Serve shards on loopback, with at most `most` records per response."""

    daemon_threads = True

    def __init__(self, shards: list[Shard], most: int, began: float) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.shards, self.most, self._began = shards, most, began
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, action: str, asked: dict[str, Any]) -> Iterable[bytes | memoryview]:
        """Return the body of a response, in pieces.

        Raises:
            RecordRejected: the request is wrong.
        """
        if action == "GetRecords":
            return self._get_records(asked)
        if action == "GetShardIterator":
            return [json.dumps({"ShardIterator": self._open(asked)}).encode()]
        if action == "ListShards":
            return [json.dumps({"Shards": [shard.listed() for shard in self.shards]}).encode()]
        if action == "DescribeStreamSummary":
            return [json.dumps({"StreamDescriptionSummary": self._summary()}).encode()]
        raise RecordRejected("UnknownOperationException")

    def _get_records(self, asked: dict[str, Any]) -> Iterable[bytes | memoryview]:
        try:
            shard, index = _iterator(asked["ShardIterator"])
        except (KeyError, ValueError):
            raise RecordRejected("InvalidArgumentException") from None
        return self.shards[shard].answer(index, min(self.most, asked.get("Limit", self.most)))

    def _open(self, asked: dict[str, Any]) -> str:
        for number, shard in enumerate(self.shards):
            if shard.shard_id == asked.get("ShardId"):
                try:
                    return iterator_to(number, shard.find(asked))
                except (KeyError, ValueError):
                    raise RecordRejected("InvalidArgumentException") from None
        raise RecordRejected("ResourceNotFoundException")

    def _summary(self) -> dict[str, Any]:
        return {
            "StreamName": STREAM,
            "StreamARN": f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": int(self._began - 2 * HISTORY),
            "EnhancedMonitoring": [],
            "OpenShardCount": len(self.shards),
        }


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Stub

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            status, pieces = 200, list(self.server.answer(self.headers["X-Amz-Target"].rpartition(".")[2], asked))
        except RecordRejected as error:
            status, pieces = 400, [json.dumps({"__type": str(error), "message": str(error)}).encode()]
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.send_header("x-amzn-RequestId", "c0ffee00-0000-0000-0000-000000000000")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Make the shards, print the URL, and serve until stdin is closed, so that the stub never outlives its parent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--per-record", type=int, default=1, help="events per KPL aggregate; 1: plain records")
    parser.add_argument("--answer", type=int, default=500, help="maximum events per response")
    given = parser.parse_args()
    began = time.time()
    most = given.answer // given.per_record
    with Stub(bake(given.shards, given.events, given.per_record, began), most, began) as stub:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        print(stub.url, flush=True)
        sys.stdin.read()
        stub.shutdown()


if __name__ == "__main__":
    main()
