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
from pathlib import Path
from typing import Any

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from benchmarks.models import Event, row_of


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
