"""A consumer with the library async-kinesis: a pydantic model, json.dumps and one file, as in the plain loop.

It keeps its checkpoints in memory and ends after `--events` events, because the library does not report the tip. It
runs in an environment with requirements/bench.txt.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

from kinesis import Consumer
from kinesis.checkpointers import MemoryCheckPointer
from kinesis.processors import JsonProcessor, KPLJsonProcessor

from benchmarks.models import Event, row_of


async def consume(given: argparse.Namespace) -> None:
    """Write a row for each event."""
    processor = KPLJsonProcessor() if given.aggregated else JsonProcessor()
    consumer = Consumer(
        given.stream,
        endpoint_url=given.endpoint_url,
        region_name="us-east-1",
        processor=processor,
        checkpointer=MemoryCheckPointer(),
        record_limit=10_000,
        max_queue_size=10_000,
        shard_fetch_rate=1000,
        sleep_time_no_records=1,
    )
    rows = 0
    with open(given.directory / "rows.jsonl", "a", encoding="utf-8") as file:
        async with consumer:
            while rows < given.events:
                async for item in consumer:
                    file.write(json.dumps(row_of(Event(**item))) + "\n")
                    rows += 1
        file.flush()
        os._exit(0)  # the library waits for its tasks otherwise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stream")
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--aggregated", action="store_true")
    asyncio.run(consume(parser.parse_args()))


if __name__ == "__main__":
    main()
