"""The stream port: the calls that the worker makes to a stream. Its adapters are `kinesis.py` and `memory.py`.

Every call may raise `StreamUnavailable` or `Throttled` (repeat it later), or `ConfigurationError` (no such stream or no
permission). No call retries by itself: the scheduler repeats the step at a later time.
"""

from collections.abc import Sequence
from typing import Protocol

from consumer.records import Fetched, Position, Shard, StreamSummary


class Stream(Protocol):
    """One Kinesis stream. Thread-safe: all shards share it."""

    def summary(self) -> StreamSummary:
        """Describe the stream: whether it is active, when it was created, and the service's time."""
        ...

    def shards(self) -> Sequence[Shard]:
        """List all open and closed shards from all pages, each shard once.

        A listing may still be incomplete: check it with `shard.listing.complete`.
        """
        ...

    def open(self, shard_id: str, position: Position) -> str:
        """Return an iterator *at* `position`: for a sequence number, the record itself is read again.

        The caller skips the user records that it already has, so a partly delivered aggregate loses nothing.

        Raises:
            ShardGone: the stream does not know the shard.
            PositionUnknown: the stream does not know the position, such as a trimmed record.
        """
        ...

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        """Read at most `limit` records with one request. Use a longer timeout if `patient`.

        Raises:
            IteratorExpired: the iterator is older than 300 seconds (AWS GetShardIterator).
            ShardGone: the stream does not know the shard.
            IncompleteResponse: the response lacks required members, or is not JSON.
            ReadTimedOut: the response timed out or was cut off.
            ConfigurationError: reading is denied, and no read has succeeded before.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...
