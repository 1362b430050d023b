"""Records in: what each became goes into the shard's buffer, dead letters sealed, everything counted.

Whoever drives the pipeline - the worker, KCL's daemon, Lambda - takes records in this way and delivers the buffer with
`delivery`; only *when* is theirs.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from consumer.pipeline.batching import Buffer, Letter
from consumer.records import TRIM_HORIZON, DeadLetter, Outcome, Position, Reason, Record, Skipped

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


class Counts(Protocol):
    """Who is told what was read."""

    def read(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None: ...

    def dead_lettered(self, reason: Reason, letters: int) -> None: ...


class Intake:
    """Fills buffers."""

    def __init__(self, seal: Seal, counts: Counts) -> None:
        self._seal, self._counts = seal, counts

    def take(
        self, buffer: Buffer, processed: Iterable[tuple[Record, Processed]], now: float, after: Position = TRIM_HORIZON
    ) -> None:
        """Take records with what became of them, until there are no more; those up to `after` are only counted.

        The next one is asked for when the last is in the buffer, so the giver may stop at a full one.
        """
        fetched = user_records = out_of_range = 0
        skipped: list[str] = []
        for record, done in processed:
            fetched += 1
            user_records += done.user_records
            out_of_range += done.out_of_range
            if after < done.last:
                rest = buffer.add(record, done.last, done.outcomes, now)
                if rest:
                    skipped += self._take_rest(buffer, rest)
        self._counts.read(fetched, user_records, out_of_range, skipped)

    def _take_rest(self, buffer: Buffer, rest: Sequence[Outcome]) -> list[str]:
        """Buffer dead letters; return the types of skipped events."""
        for outcome in rest:
            if isinstance(outcome, DeadLetter):
                buffer.add_letter(self._seal(outcome))
                self._counts.dead_lettered(outcome.reason, 1)
        return [outcome.event_type for outcome in rest if isinstance(outcome, Skipped)]
