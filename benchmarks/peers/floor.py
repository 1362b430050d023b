"""A floor: about the least that Python needs to read these events, check their types and write rows.

It has plain HTTP without a signature, one prefetched response per shard, a typed decoder for the response, a model of
the event in pydantic or msgspec, and orjson. It has no leases, no retries, no dead letters, no fsync and no redaction,
and it knows fewer fields than the worker. It runs in an environment with requirements/bench.txt.
"""

import argparse
import gc
import hashlib
import http.client
import importlib.util
import sys
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import orjson

MAGIC, DIGEST = b"\xf3\x89\x9a\xc2", 16
TYPES = Literal["com.twilio.voice.api-request.call.created", "com.twilio.voice.api-request.call.modified"]


class Record(msgspec.Struct, rename="pascal", gc=False):
    data: bytes
    sequence_number: str


class Response(msgspec.Struct, rename="pascal", gc=False):
    records: list[Record]
    millis_behind_latest: int
    next_shard_iterator: str | None = None


@lru_cache(maxsize=4096)
def date(text: str) -> datetime:
    """Return a date of RFC 2822. Several events of a second share one."""
    return parsedate_to_datetime(text).astimezone(UTC)


def pydantic_parser() -> Callable[[bytes], Any]:
    """Return a parser that makes pydantic models of events."""
    from pydantic import AfterValidator, BaseModel

    rfc2822 = Annotated[str, AfterValidator(date)]

    class Request(BaseModel):
        method: str
        url: str
        parameters: dict[str, Any]

    class Reply(BaseModel):
        responseCode: int  # noqa: N815 - Twilio's names
        requestDuration: int | None = None  # noqa: N815
        contentType: str | None = None  # noqa: N815
        responseBody: str | None = None  # noqa: N815
        dateCreated: rfc2822 | None = None  # noqa: N815

    class Data(BaseModel):
        sid: str
        timestamp: datetime
        eventSid: str  # noqa: N815
        request: Request
        response: Reply
        requestDateCreated: rfc2822 | None = None  # noqa: N815

    class Event(BaseModel):
        specversion: str
        type: TYPES
        source: str
        id: str
        dataschema: str
        datacontenttype: str
        time: datetime
        data: Data

    return Event.model_validate_json


def msgspec_parser() -> Callable[[bytes], Any]:
    """Return a parser that makes structs of events."""

    class Request(msgspec.Struct, gc=False):
        method: str
        url: str
        parameters: dict[str, Any]

    class Reply(msgspec.Struct, rename="camel", gc=False):
        response_code: int
        request_duration: int | None = None
        content_type: str | None = None
        response_body: bytes | None = None
        date_created: str | None = None

    class Data(msgspec.Struct, rename="camel", gc=False):
        sid: str
        timestamp: datetime
        event_sid: str
        request: Request
        response: Reply
        request_date_created: str | None = None

    class Event(msgspec.Struct, gc=False):
        specversion: str
        type: TYPES
        source: str
        id: str
        dataschema: str
        datacontenttype: str
        time: datetime
        data: Data

    return msgspec.json.Decoder(Event).decode


def pydantic_row(event: Any) -> dict[str, Any]:
    data, request, reply = event.data, event.data.request, event.data.response
    return {
        **_common(event),
        "webhook_event_sid": data.eventSid,
        "requested_at": data.requestDateCreated,
        "responded_at": reply.dateCreated,
        "method": request.method,
        "url": request.url,
        "parameters": request.parameters,
        "status": reply.responseCode,
        "duration_ms": reply.requestDuration,
        "content_type": reply.contentType,
        "body": a2b_base64(reply.responseBody).decode() if reply.responseBody else None,
    }


def msgspec_row(event: Any) -> dict[str, Any]:
    data, request, reply = event.data, event.data.request, event.data.response
    return {
        **_common(event),
        "webhook_event_sid": data.event_sid,
        "requested_at": data.request_date_created and date(data.request_date_created),
        "responded_at": reply.date_created and date(reply.date_created),
        "method": request.method,
        "url": request.url,
        "parameters": request.parameters,
        "status": reply.response_code,
        "duration_ms": reply.request_duration,
        "content_type": reply.content_type,
        "body": reply.response_body.decode() if reply.response_body else None,
    }


def _common(event: Any) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "event_source": event.source,
        "event_type": event.type,
        "event_time": event.time,
        "call_sid": event.data.sid,
        "occurred_at": event.data.timestamp,
    }


def user_records() -> Callable[[bytes], list[bytes]]:
    """Return a function that takes a KPL aggregate apart."""
    package = importlib.util.find_spec("aws_kinesis_agg")
    assert package is not None
    sys.path.append((package.submodule_search_locations or [""])[0])
    import messages_pb2  # type: ignore[import-not-found]

    parse = messages_pb2.AggregatedRecord.FromString

    def split(data: bytes) -> list[bytes]:
        body = data[len(MAGIC) : -DIGEST]
        if data[: len(MAGIC)] != MAGIC or hashlib.md5(body).digest() != data[-DIGEST:]:
            return [data]
        return [record.data for record in parse(body).records]

    return split


class Connection:
    """One connection to the stream's endpoint."""

    def __init__(self, url: str, stream: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self._stream = stream

    def call(self, action: str, **asked: Any) -> bytes:
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Kinesis_20131202.{action}"}
        self._connection.request("POST", "/", orjson.dumps(asked), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(body[:200])
        return body

    def open(self, shard: str) -> str:
        asked = {"StreamName": self._stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        return str(orjson.loads(self.call("GetShardIterator", **asked))["ShardIterator"])

    def shards(self) -> list[str]:
        listed = orjson.loads(self.call("ListShards", StreamName=self._stream))
        return [shard["ShardId"] for shard in listed["Shards"]]

    def read(self, iterator: str) -> bytes:
        return self.call("GetRecords", ShardIterator=iterator, Limit=10_000)


def responses(url: str, stream: str) -> Iterator[Response]:
    """Yield the responses of all shards in turn, while a thread per shard waits for the next one."""
    decode = msgspec.json.Decoder(Response).decode
    shards = Connection(url, stream).shards()
    connections = {shard: Connection(url, stream) for shard in shards}
    with ThreadPoolExecutor(len(shards)) as threads:
        waiting: dict[str, Future[bytes]] = {
            shard: threads.submit(connection.read, connection.open(shard)) for shard, connection in connections.items()
        }
        while waiting:
            for shard in list(waiting):
                response = decode(waiting.pop(shard).result())
                if response.next_shard_iterator and (response.records or response.millis_behind_latest):
                    waiting[shard] = threads.submit(connections[shard].read, response.next_shard_iterator)
                yield response


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stream")
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--model", choices=["pydantic", "msgspec"], required=True)
    given = parser.parse_args()
    parse, row = (pydantic_parser(), pydantic_row) if given.model == "pydantic" else (msgspec_parser(), msgspec_row)
    split = user_records()
    gc.collect()
    gc.freeze()
    gc.disable()
    with open(given.directory / "rows.jsonl", "ab", buffering=0) as file:
        for response in responses(given.endpoint_url, given.stream):
            lines = [
                orjson.dumps(row(parse(event)), None, orjson.OPT_APPEND_NEWLINE)
                for record in response.records
                for event in split(record.data)
            ]
            file.write(b"".join(lines))


if __name__ == "__main__":
    main()
