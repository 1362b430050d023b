"""Put the outcomes of records into a shard's buffer: rows, encoded dead letters, and counts.

The worker, the daemon's child and Lambda all use it, and deliver the buffer with `delivery`. They differ only in when.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from consumer.pipeline.batching import Buffer
from consumer.pipeline.spool import EncodedDeadLetter
from consumer.records import TRIM_HORIZON, DeadLetter, Outcome, Position, Record, Skipped

MOST_TYPES = 1_000  # types of skipped events counted per batch; real streams have fewer
OTHER_TYPES = ""  # the type under which all others are counted

EncodeDeadLetter = Callable[[DeadLetter], EncodedDeadLetter]


class Processed(Protocol):
    """The outcomes of one record; see `decoding.decoder.Processed`."""

    @property
    def outcomes(self) -> Iterable[Outcome]: ...
    @property
    def user_records(self) -> int: ...
    @property
    def out_of_range(self) -> int: ...
    @property
    def last(self) -> Position: ...


class Process(Protocol):
    """Decode one record without its user records up to and including `after`."""

    def __call__(self, record: Record, after: Position, /) -> Processed: ...


class Intake:
    """Fill buffers with the outcomes of records."""

    def __init__(self, encode_dead_letter: EncodeDeadLetter) -> None:
        self._encode_dead_letter = encode_dead_letter

    def take(
        self, buffer: Buffer, processed: Iterable[tuple[Record, Processed]], now: float, after: Position = TRIM_HORIZON
    ) -> None:
        """Add all records with their outcomes, except records up to `after`. Finish an interrupted record first.

        Take a record from `processed` only when the one before is in the buffer, so that it can stop at a full buffer.

        Raises:
            SpoolUnavailable: the last record is partly added; call it again with the records after that one.
        """
        buffer.finish()
        tally, other = buffer.tally, partial(self._take_other, buffer)
        for record, done in processed:
            if after < done.last:
                tally.fetched += 1
                tally.user_records += done.user_records
                tally.out_of_range += done.out_of_range
                buffer.add(record, done.last, done.outcomes, now, other)

    def _take_other(self, buffer: Buffer, outcome: DeadLetter | Skipped) -> None:
        """Add a dead letter, or count a skipped event by its type."""
        tally = buffer.tally
        if isinstance(outcome, DeadLetter):
            tally.dead_letters[outcome.reason] += 1
            buffer.add_dead_letter(self._encode_dead_letter(outcome))
        else:
            known = outcome.event_type in tally.skipped or len(tally.skipped) < MOST_TYPES
            tally.skipped[outcome.event_type if known else OTHER_TYPES] += 1
