"""Records in: what each became goes into the shard's buffer, dead letters sealed, everything in its tally.

Whoever drives the pipeline - the worker, KCL's daemon, Lambda - takes records in this way and delivers the buffer with
`delivery`; only *when* is theirs.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from consumer.pipeline.batching import Buffer, Letter
from consumer.records import TRIM_HORIZON, DeadLetter, Outcome, Position, Record, Skipped

Seal = Callable[[DeadLetter], Letter]


class Processed(Protocol):
    """What became of one record: see `pipeline.decoding`."""

    @property
    def outcomes(self) -> Sequence[Outcome]: ...
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

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def take(
        self, buffer: Buffer, processed: Iterable[tuple[Record, Processed]], now: float, after: Position = TRIM_HORIZON
    ) -> None:
        """Take records with what became of them, until there are no more; leave out those up to `after`.

        The next one is asked for when the last is in the buffer, so the giver may stop at a full one.
        """
        tally = buffer.tally
        for record, done in processed:
            if after < done.last:
                tally.fetched += 1
                tally.user_records += done.user_records
                tally.out_of_range += done.out_of_range
                rest = buffer.add(record, done.last, done.outcomes, now)
                if rest:
                    self._take_rest(buffer, rest)

    def _take_rest(self, buffer: Buffer, rest: Sequence[Outcome]) -> None:
        """Buffer dead letters; note the types of skipped events."""
        for outcome in rest:
            if isinstance(outcome, DeadLetter):
                buffer.add_letter(self._seal(outcome))
                buffer.tally.letters[outcome.reason] += 1
        buffer.tally.skipped += [outcome.event_type for outcome in rest if isinstance(outcome, Skipped)]
