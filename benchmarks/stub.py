"""Serve a stream from memory in a separate process, so that the server's CPU is not counted.

The stub implements the JSON 1.1 requests of a reader. A response is encoded before it is asked for. Without options it
does not throttle: the limits of AWS, five reads and 2 MiB per second and shard, would hide how fast a reader is.
"""

import argparse
import json
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from benchmarks.events import SIZE, STREAM
from benchmarks.shards import HISTORY, Shard, bake, iterator_to, read_iterator

__all__ = ["HISTORY", "Faults", "Stub", "bake"]


class Faults(NamedTuple):
    """How the stub disturbs its readers: seconds before each response, and the probabilities of two errors."""

    latency: float = 0.0
    throttle: float = 0.0
    failure: float = 0.0


class RequestFailed(Exception):
    """An error response: HTTP status, and the name of the error in AWS."""

    def __init__(self, name: str, status: int = 400) -> None:
        super().__init__(name)
        self.status = status


class Stub(ThreadingHTTPServer):
    """Serve shards on loopback, with at most `most` records per response."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, shards: list[Shard], most: int, began: float, faults: Faults | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.shards, self.most, self._began, self._faults = shards, most, began, faults or Faults()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, action: str, asked: dict[str, Any]) -> Iterable[bytes | memoryview]:
        """Return the body of a response, in pieces.

        Raises:
            RequestFailed: the request is wrong, or the stub was told to disturb its readers.
        """
        if self._faults.latency:
            time.sleep(self._faults.latency)
        if action == "GetRecords":
            return self._get_records(asked)
        if action == "GetShardIterator":
            return [json.dumps({"ShardIterator": self._open(asked)}).encode()]
        if action == "ListShards":
            return [json.dumps({"Shards": self._listed()}).encode()]
        if action == "DescribeStreamSummary":
            return [json.dumps({"StreamDescriptionSummary": self._summary()}).encode()]
        if action == "DescribeStream":
            described = {**self._summary(), "Shards": self._listed(), "HasMoreShards": False}
            return [json.dumps({"StreamDescription": described}).encode()]
        raise RequestFailed("UnknownOperationException")

    def _get_records(self, asked: dict[str, Any]) -> Iterable[bytes | memoryview]:
        if random.random() < self._faults.throttle:
            raise RequestFailed("ProvisionedThroughputExceededException")
        if random.random() < self._faults.failure:
            raise RequestFailed("InternalFailure", 500)
        try:
            shard, index = read_iterator(asked["ShardIterator"])
        except (KeyError, ValueError):
            raise RequestFailed("InvalidArgumentException") from None
        return self.shards[shard].answer(index, min(self.most, asked.get("Limit", self.most)))

    def _open(self, asked: dict[str, Any]) -> str:
        for number, shard in enumerate(self.shards):
            if shard.shard_id == asked.get("ShardId"):
                try:
                    return iterator_to(number, shard.find(asked))
                except (KeyError, ValueError):
                    raise RequestFailed("InvalidArgumentException") from None
        raise RequestFailed("ResourceNotFoundException")

    def _listed(self) -> list[dict[str, Any]]:
        return [shard.listed() for shard in list(self.shards)]

    def _summary(self) -> dict[str, Any]:
        return {
            "StreamName": STREAM,
            "StreamARN": f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": int(self._began - 2 * HISTORY),
            "EnhancedMonitoring": [],
            "OpenShardCount": sum(shard.end is None for shard in self.shards),
        }

    def reshard(self) -> None:
        """Split the last open shard that no split made, or merge the children of the last split."""
        shards = self.shards
        if len(shards[-1].parents) == 1:
            left, right = shards[-2:]
            merged = left.child(len(shards), (left.hash_range[0], right.hash_range[1]), right)
            shards.append(merged)
            for parent in (left, right):
                parent.close([merged])
            return
        parent = next(shard for shard in reversed(shards) if shard.end is None)
        first, last = parent.hash_range
        middle = (first + last) // 2
        children = [
            parent.child(len(shards), (first, middle)),
            parent.child(len(shards) + 1, (middle + 1, last)),
        ]
        shards.extend(children)
        parent.close(children)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Stub

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            status, pieces = 200, list(self.server.answer(self.headers["X-Amz-Target"].rpartition(".")[2], asked))
        except RequestFailed as error:
            status, pieces = error.status, [json.dumps({"__type": str(error), "message": str(error)}).encode()]
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.send_header("x-amzn-RequestId", "c0ffee00-0000-0000-0000-000000000000")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(stub: Stub, reshard_every: float = 0.0) -> Iterator[str]:
    """Serve in a thread and yield the URL. Reshard every so many seconds, if any."""
    stopped = threading.Event()

    def reshard() -> None:
        while not stopped.wait(reshard_every):
            stub.reshard()

    with stub:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        if reshard_every:
            threading.Thread(target=reshard, daemon=True).start()
        yield stub.url
        stopped.set()
        stub.shutdown()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stub", description=__doc__)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--per-record", type=int, default=1, help="events per KPL aggregate; 1: plain records")
    parser.add_argument("--answer", type=int, default=2000, help="maximum events per response")
    parser.add_argument("--size", type=int, default=SIZE, help="bytes per event")
    parser.add_argument("--distinct", type=int, help="events in memory; they repeat with new sequence numbers")
    parser.add_argument(
        "--live", type=float, default=0.0, help="seconds in which the events arrive; 0: before the start"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each response")
    parser.add_argument("--throttle", type=float, default=0.0, help="probability that a read exceeds the throughput")
    parser.add_argument("--failure", type=float, default=0.0, help="probability that a read fails with HTTP 500")
    parser.add_argument("--reshard", type=float, default=0.0, help="split or merge every so many seconds")
    return parser


def main() -> None:
    """Make the shards, print the URL, and serve until stdin is closed, so that the stub never outlives its parent."""
    given = _parser().parse_args()
    began = time.time()
    seconds = given.live or -HISTORY
    shards = bake(
        given.shards, given.events, given.per_record, began, seconds=seconds, size=given.size, distinct=given.distinct
    )
    faults = Faults(given.latency, given.throttle, given.failure)
    with serving(Stub(shards, max(1, given.answer // given.per_record), began, faults), given.reshard) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
