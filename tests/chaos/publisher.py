"""Put events with known numbers on a stream, plain and aggregated, and reshard it."""

import random
import threading
from typing import Any

from botocore.exceptions import ClientError

from consumer.decoding.deaggregation import aggregate
from tests.events import numbered_event
from tests.integration.workers import STREAM

LARGEST_AGGREGATE = 8
MOST_RECORDS = 4  # per call


class Publisher:
    """Publish on a separate thread until it is stopped. `pause`: mean seconds between calls."""

    def __init__(self, client: Any, rng: random.Random, pause: float = 0.25, stream: str = STREAM) -> None:
        self._client, self._rng, self._pause, self._stream = client, rng, pause, stream
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.published = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        """Stop, and return the number of events. Their numbers start at 0."""
        self._stopped.set()
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self.published

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self._rng.uniform(0, 2 * self._pause)):
                self.put(self._rng.randint(1, MOST_RECORDS))
        except Exception as error:
            self.error = error

    def put(self, records: int) -> None:
        """Put records, each with one event or an aggregate. Retry those that the stream rejects."""
        entries = []
        for _ in range(records):
            events = self._rng.randint(2, LARGEST_AGGREGATE) if self._rng.random() < 0.4 else 1
            numbers = range(self.published, self.published + events)
            self.published += events
            # one key for all, because a KCL drops an aggregate with a key of another shard
            key = str(self._rng.random())
            data = numbered_event(numbers[0]) if events == 1 else aggregate([(key, numbered_event(n)) for n in numbers])
            entries.append({"Data": data, "PartitionKey": key})
        while entries:
            answer = self._client.put_records(StreamName=self._stream, Records=entries)
            refused = ["ErrorCode" in record for record in answer["Records"]]
            entries = [entry for entry, again in zip(entries, refused, strict=True) if again]


class Resharder:
    """Split and merge shards. The number is limited, because each costs an emulator time."""

    def __init__(self, client: Any, rng: random.Random, least: int = 2, most: int = 6, stream: str = STREAM) -> None:
        self._client, self._rng, self._least, self._most, self._stream = client, rng, least, most, stream

    def open_shards(self) -> list[dict[str, Any]]:
        """Return the open shards in the order of their hash keys."""
        shards = self._client.list_shards(StreamName=self._stream)["Shards"]
        found = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return sorted(found, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))

    def split(self, name: str | None = None) -> str | None:
        """Split a shard in its middle. Return its id, or None when there are enough or the stream is busy."""
        shards = self.open_shards()
        if len(shards) >= self._most:
            return None
        shard = self._rng.choice([shard for shard in shards if name in (None, shard["ShardId"])])
        first, last = (int(shard["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
        return self._asked(
            lambda: self._client.split_shard(
                StreamName=self._stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((first + last) // 2)
            ),
            str(shard["ShardId"]),
        )

    def merge(self) -> str | None:
        """Merge two neighbours. Return their ids, or None when there are few or the stream is busy."""
        shards = self.open_shards()
        if len(shards) <= self._least:
            return None
        at = self._rng.randrange(len(shards) - 1)
        left, right = shards[at]["ShardId"], shards[at + 1]["ShardId"]
        return self._asked(
            lambda: self._client.merge_shards(StreamName=self._stream, ShardToMerge=left, AdjacentShardToMerge=right),
            f"{left} {right}",
        )

    def _asked(self, call: Any, shards: str) -> str | None:
        try:
            call()
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ResourceInUseException", "LimitExceededException"):
                raise
            return None
        return shards
