"""A stream that ends at a time: later records and the shards that were not chosen are left out.

Where a shard is read up to the bound, nothing is requested from the service any more. If the shard is closed, it then
ends, and its children are read: they reach the bound at once. If it is open, it looks like its tip.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from consumer.errors import ConfigurationError
from consumer.records import Fetched, Position, Record, Shard, StreamSummary
from consumer.streams import Stream

# Arrival times grow with sequence numbers only roughly. A record this much later than the bound ends the reading.
SLACK = timedelta(seconds=2)


class BoundedStream:
    """Delegate to `stream`, up to but not including records that arrived at `end`. `chosen`: shards; empty: all."""

    def __init__(self, stream: Stream, end: datetime, chosen: Collection[str] = ()) -> None:
        self._stream, self._chosen = stream, frozenset(chosen)
        self._end, self._certain = end.timestamp(), (end + SLACK).timestamp()
        self._listed: Mapping[str, Shard] = {}
        self._furthest: dict[str, int] = {}  # the last sequence number read within the bound, by shard
        self._complete: set[str] = set()  # shards whose bound was reached, after `_furthest`
        self.close = stream.close

    def summary(self) -> StreamSummary:
        return self._stream.summary()

    def shards(self) -> Sequence[Shard]:
        """List all shards, those that were not chosen too, because lease rows have to cover all hash keys.

        Raises:
            ConfigurationError: at first, the stream does not list a chosen shard.
        """
        shards = self._stream.shards()
        listed = {shard.shard_id: shard for shard in shards}
        if shards and not self._listed and (unknown := sorted(self._chosen - listed.keys())):
            some = ", ".join([*listed][:5]) + (" and others" if len(listed) > 5 else "")
            raise ConfigurationError(f"--shard {unknown[0]}: the stream does not list it; it lists {some}")
        self._listed = listed
        return shards

    def open(self, shard_id: str, position: Position) -> str:
        """Return an iterator that contains the shard id; without an iterator of the service where nothing follows."""
        left_out = bool(self._chosen) and shard_id not in self._chosen
        # A reader that starts over from its checkpoint must get the records before the bound again.
        if left_out or (shard_id in self._complete and position.sequence >= self._furthest.get(shard_id, 0)):
            return f"{shard_id} "
        return f"{shard_id} {self._stream.open(shard_id, position)}"

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        shard_id, _, inner = iterator.partition(" ")
        if not inner:
            return self._nothing_more(shard_id)
        fetched = self._stream.fetch(inner, limit, patient)
        within = [record for record in fetched.records if record.arrived_at < self._end]
        if within:
            self._furthest[shard_id] = max(within[-1].sequence, self._furthest.get(shard_id, 0))
        if any(record.arrived_at >= self._certain for record in fetched.records):
            self._complete.add(shard_id)
            return replace(self._nothing_more(shard_id), records=within, size=_size(within))
        following = None if fetched.next_iterator is None else f"{shard_id} {fetched.next_iterator}"
        size = fetched.size if len(within) == len(fetched.records) else _size(within)
        return replace(fetched, records=within, next_iterator=following, size=size)

    def _nothing_more(self, shard_id: str) -> Fetched:
        """Return the response of a shard that has no more records: at the tip, or at its end if it is closed."""
        shard = self._listed.get(shard_id)
        if shard is None or not shard.closed:
            return Fetched([], f"{shard_id} ", 0)
        return Fetched([], None, 0, [child for child in self._listed.values() if shard_id in child.parents])


def _size(records: Sequence[Record]) -> int:
    return sum(len(record.data) for record in records)
