"""The baseline: a consumer as an ordinary engineer writes it in an afternoon. A thread a shard, a model, a file.

It does less than the worker: no leases, no dead letters (one bad event ends its shard), no fsync.
"""

import argparse
import base64
import json
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from pydantic import BaseModel, BeforeValidator


def _date(value: Any) -> Any:
    return parsedate_to_datetime(value) if isinstance(value, str) else value


Rfc2822 = Annotated[datetime, BeforeValidator(_date)]


class Request(BaseModel):
    method: str
    url: str
    parameters: dict[str, Any]


class Response(BaseModel):
    responseCode: int  # noqa: N815 - Twilio's names
    requestDuration: int | None = None  # noqa: N815
    contentType: str | None = None  # noqa: N815
    responseBody: str | None = None  # noqa: N815
    dateCreated: Rfc2822 | None = None  # noqa: N815


class Data(BaseModel):
    sid: str
    requestDateCreated: Rfc2822 | None = None  # noqa: N815
    timestamp: datetime
    eventSid: str  # noqa: N815
    request: Request
    response: Response


class Event(BaseModel):
    specversion: str
    type: str
    source: str
    id: str
    dataschema: str
    time: datetime
    data: Data


def row_of(event: Event) -> dict[str, Any]:
    data, request, response = event.data, event.data.request, event.data.response
    return {
        "event_id": event.id,
        "event_source": event.source,
        "event_type": event.type,
        "event_time": event.time.isoformat(),
        "call_sid": data.sid,
        "webhook_event_sid": data.eventSid,
        "occurred_at": data.timestamp.isoformat(),
        "requested_at": data.requestDateCreated and data.requestDateCreated.isoformat(),
        "responded_at": response.dateCreated and response.dateCreated.isoformat(),
        "method": request.method,
        "url": request.url,
        "parameters": request.parameters,
        "status": response.responseCode,
        "duration_ms": response.requestDuration,
        "content_type": response.contentType,
        "body": base64.b64decode(response.responseBody).decode() if response.responseBody else None,
    }


def read(client: Any, stream: str, shard: str, write: Callable[[str], None], save: Callable[[str, str], None]) -> None:
    opened = client.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator = opened["ShardIterator"]
    while iterator:
        answer = client.get_records(ShardIterator=iterator, Limit=10_000)
        for record in iter_deaggregate_records(answer["Records"], data_format="Boto3"):
            data = record["kinesis"]["data"]
            if record["kinesis"].get("aggregated"):  # then it is base64
                data = base64.b64decode(data)
            write(json.dumps(row_of(Event(**json.loads(data)))) + "\n")
        if answer["Records"]:
            save(shard, answer["Records"][-1]["SequenceNumber"])
        elif answer["MillisBehindLatest"] == 0:
            break
        iterator = answer.get("NextShardIterator")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stream")
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    client = boto3.client("kinesis", endpoint_url=given.endpoint_url)
    lock = threading.Lock()
    database = sqlite3.connect(given.directory / "checkpoints.db", check_same_thread=False)
    database.execute("CREATE TABLE IF NOT EXISTS checkpoints (shard TEXT PRIMARY KEY, sequence TEXT)")
    file = open(given.directory / "rows.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - closed below

    def write(line: str) -> None:
        with lock:
            file.write(line)

    def save(shard: str, sequence: str) -> None:
        with lock:
            file.flush()
            database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (shard, sequence))
            database.commit()

    shards = [shard["ShardId"] for shard in client.list_shards(StreamName=given.stream)["Shards"]]
    with file, ThreadPoolExecutor(len(shards)) as threads:
        done = [threads.submit(read, client, given.stream, shard, write, save) for shard in shards]
    for one in done:
        one.result()
    database.close()


if __name__ == "__main__":
    main()
