"""The stream port: what the engine asks of a stream. `kinesis.py` is the adapter.

Every call may raise `StreamUnavailable` or `Throttled` (same call later) and `ConfigurationError` (no such stream, no
permission: an operator's matter). No call retries by itself: a retry is a due time of the engine's.
"""

from collections.abc import Sequence
from typing import Protocol

from consumer.records import Fetched, Position, Shard, StreamSummary


class Stream(Protocol):
    """One Kinesis stream. Thread-safe: all shards share it."""

    def summary(self) -> StreamSummary:
        """Describe the stream: whether it is active, when it was made, what time the service has."""
        ...

    def shards(self) -> Sequence[Shard]:
        """List every shard, open and closed, that the stream still knows; all pages, each shard once.

        A listing may lack shards all the same: `lineage.complete` tells whether it can be believed.
        """
        ...

    def open(self, shard_id: str, position: Position) -> str:
        """Return an iterator *at* `position`: for a sequence number the record itself comes again.

        Whoever asks drops what it already has; so half-done aggregates are resumed without loss.

        Raises:
            ShardGone: the stream does not know the shard.
            PositionUnknown: it does not know the position, such as a record that it has trimmed.
        """
        ...

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        """Read once, at most `limit` records; `patient` waits longer for the response than usual.

        Raises:
            IteratorExpired: iterators live 300 seconds (AWS GetShardIterator).
            ShardGone: the stream does not know the shard.
            IncompleteResponse: the response lacks its records, or is none.
            ReadTimedOut: the response did not arrive in time, or not to its end.
            ConfigurationError: reading is denied, and nothing was ever read.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...
