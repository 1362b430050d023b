"""Find positions in the stream: the first record since a time, and a record by its sequence number.

A KCL cannot start at an instant that a lease row says. So a time becomes the position just before the first record that
arrived since then: its sequence number with sub-sequence number -1.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.checkpoints.patience import patiently
from consumer.decoding.deaggregation import deaggregate
from consumer.errors import ConfigurationError, IteratorExpired, PositionUnknown, ShardGone
from consumer.records import SHARD_END, TRIM_HORIZON, Fetched, Position, Record, Shard
from consumer.streams import Stream

INTERVAL = 0.25  # seconds between two reads of a shard; AWS allows all its readers together five per second
RECORDS = 10  # per read; only the first one matters
ENDS = 2  # responses, each from a new iterator, that have to agree that a closed shard has no more records
BEFORE = -1  # the sub-sequence number of a position before all user records of a record


@dataclass(frozen=True, slots=True)
class Start:
    """Where one shard is read from. `time`: records that arrived since then are read; None: unknown.

    `started_at`, `read_to`: what its row says, see `Lease`.
    """

    position: Position
    time: datetime | None = None
    started_at: datetime | None = None
    read_to: datetime | None = None
    note: str = ""


class Positions:
    """Find positions in one stream. Failed calls are repeated for about ten seconds."""

    def __init__(self, stream: Stream, sleep: Callable[[float], None] = time.sleep) -> None:
        self._stream, self._sleep = stream, sleep

    def since(self, shard: Shard, moment: datetime) -> Start:
        """Return the position of the first record of a shard that arrived at `moment` or later."""
        record = patiently(lambda: self._first(shard, moment), self._sleep)
        if record is not None:
            return Start(Position.of(record.sequence, BEFORE), moment, moment, moment)
        if shard.closed and all(self._ended(shard, moment) for _ in range(ENDS)):
            return Start(SHARD_END, moment, moment, moment, "it has no later records")
        note = "it has no later records yet; a KCL would read it from the trim horizon"
        return Start(TRIM_HORIZON, moment, moment, None, note)

    def after(self, shard: Shard, sequence: int, sub_sequence: int | None = None) -> Start:
        """Return the position after a record, or after one of its user records.

        Raises:
            ConfigurationError: the shard has no such record.
        """
        record = patiently(lambda: self._at(shard, sequence), self._sleep)
        if record is None or record.sequence != sequence:
            oldest = f"; the next one that it has is {record.sequence}" if record is not None else ""
            raise ConfigurationError(f"--to {sequence}: {shard.shard_id} has no such record (any more){oldest}")
        arrived = datetime.fromtimestamp(record.arrived_at, UTC) if record.arrived_at else None
        last = sub_sequence if sub_sequence is not None else deaggregate(record, shard.hash_range)[1] - 1
        return Start(Position.of(sequence, last), arrived, None, arrived)

    def _first(self, shard: Shard, moment: datetime) -> Record | None:
        """Return the first record since `moment`, or None if the responses end without one."""
        for fetched in self._responses(shard, Position.at_timestamp(moment)):
            for record in fetched.records:
                if record.arrived_at >= moment.timestamp():
                    return record
        return None

    def _responses(self, shard: Shard, position: Position) -> Iterator[Fetched]:
        iterator: str | None = self._stream.open(shard.shard_id, position)
        while iterator is not None:
            fetched = self._fetch(shard, iterator)
            yield fetched
            at_tip = not fetched.records and not fetched.millis_behind
            iterator = None if at_tip else fetched.next_iterator
            self._sleep(INTERVAL)

    def _ended(self, shard: Shard, moment: datetime) -> bool:
        iterator = patiently(lambda: self._stream.open(shard.shard_id, Position.at_timestamp(moment)), self._sleep)
        fetched = patiently(lambda: self._fetch(shard, iterator), self._sleep)
        self._sleep(INTERVAL)
        return not fetched.records and fetched.next_iterator is None and not fetched.millis_behind

    def _at(self, shard: Shard, sequence: int) -> Record | None:
        try:
            iterator = self._stream.open(shard.shard_id, Position.of(sequence))
            records = self._fetch(shard, iterator).records
        except (PositionUnknown, ShardGone):
            return None
        return records[0] if records else None

    def _fetch(self, shard: Shard, iterator: str) -> Fetched:
        try:
            return self._stream.fetch(iterator, RECORDS)
        except (IteratorExpired, ShardGone) as error:
            raise ConfigurationError(f"{shard.shard_id}: {error} Run the command again") from None
