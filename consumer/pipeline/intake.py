"""Records in: what each became goes into the shard's buffer, dead letters sealed, everything in its tally.

Whoever drives the pipeline - the worker, KCL's daemon, Lambda - takes records in this way and delivers the buffer with
`delivery`; only *when* is theirs.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from consumer.pipeline.batching import Buffer
from consumer.pipeline.spool import EncodedDeadLetter
from consumer.records import TRIM_HORIZON, DeadLetter, Outcome, Position, Record, Skipped

MOST_TYPES = 1_000  # of skipped events in one batch; more can only be invented
OTHER_TYPES = ""  # what the others count as

EncodeDeadLetter = Callable[[DeadLetter], EncodedDeadLetter]


class Processed(Protocol):
    """What became of one record: see `pipeline.decoding`."""

    @property
    def outcomes(self) -> Iterable[Outcome]: ...
    @property
    def user_records(self) -> int: ...
    @property
    def out_of_range(self) -> int: ...
    @property
    def last(self) -> Position: ...


class Process(Protocol):
    """Turns one record into outcomes, leaving out the user records up to and including `after`."""

    def __call__(self, record: Record, after: Position, /) -> Processed: ...


class Intake:
    """Fills buffers."""

    def __init__(self, encode_dead_letter: EncodeDeadLetter) -> None:
        self._encode_dead_letter = encode_dead_letter

    def take(
        self, buffer: Buffer, processed: Iterable[tuple[Record, Processed]], now: float, after: Position = TRIM_HORIZON
    ) -> None:
        """Take records with what became of them, until there are no more; leave out those up to `after`.

        The next one is asked for when the last is in the buffer, so the giver may stop at a full one.
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
        """Buffer a dead letter; note the type of a skipped event."""
        tally = buffer.tally
        if isinstance(outcome, DeadLetter):
            tally.dead_letters[outcome.reason] += 1
            buffer.add_dead_letter(self._encode_dead_letter(outcome))
        else:
            known = outcome.event_type in tally.skipped or len(tally.skipped) < MOST_TYPES
            tally.skipped[outcome.event_type if known else OTHER_TYPES] += 1
