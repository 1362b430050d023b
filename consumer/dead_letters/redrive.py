"""Bring dead letters home: write the rows that today's decoder makes of them, each once per destination.

A dead letter is taken only if no worker can write it any more (`checkpoints`). Each batch is claimed in the ledger
before it is written. After a kill, a sink that recognises batches says whether it has the claimed one; others get the
rows again, which a sink that recognises rows absorbs.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TypeVar

from consumer.dead_letters import DeadLetterStore, StoredDeadLetter
from consumer.dead_letters.attempt import Attempt, Result
from consumer.dead_letters.checkpoints import Checkpoints
from consumer.dead_letters.ledger import Ledger
from consumer.dead_letters.selection import Selection
from consumer.decoding.locations import EncodedRow
from consumer.errors import BatchRejected, Retryable, RowsRejected
from consumer.records import BatchLimits, Block
from consumer.sinks import Deduplication, Sink

T = TypeVar("T")


class State(Enum):
    """What happens, or happened, to a selected dead letter. The values are the words of plan and summary."""

    READY = "ready"
    REDRIVEN = "redriven"
    BEFORE = "redriven earlier"
    WAITING = "before their shard's checkpoint: the worker may still write them"
    REJECTED = "rejected by today's decoder"
    SKIPPED = "of an event type that is not decoded"
    NO_DATA = "without data, to be read from the stream again"
    GONE = "without data, and no longer in the stream"
    SEVERAL = "standing for more events of their record: only a sink that recognises rows can take them"
    NOT_STORED = "rejected by the sink"


_STATES = {Result.REJECTED: State.REJECTED, Result.SKIPPED: State.SKIPPED, Result.NO_DATA: State.GONE}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where rows go, the name under which the ledger knows it, and the limits of a batch.

    `version` identifies the decoder.
    """

    sink: Sink
    name: str
    version: str
    limits: BatchLimits


@dataclass(frozen=True, slots=True)
class RedriveBatch:
    """Rows that are written at once, each with the id of its dead letter."""

    folder: str
    rows: Sequence[tuple[str, EncodedRow]]
    version: str

    @property
    def letters(self) -> Sequence[str]:
        """Return the ids of the dead letters, each once."""
        return list(dict.fromkeys(letter for letter, _ in self.rows))

    @property
    def name(self) -> str:
        """Return a name that only the same dead letters and the same decoder make again."""
        digest = hashlib.sha256("\0".join([self.version, *self.letters]).encode()).hexdigest()[:24]
        return f"{self.folder}/redriven-{digest}"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Block]:
        return (Block(row.line, 1) for _, row in self.rows)

    def halves(self) -> "tuple[RedriveBatch, RedriveBatch]":
        """Divide the dead letters, and with them their rows. There are at least two."""
        ids = self.letters
        first = set(ids[: len(ids) // 2])
        parts = [pair for pair in self.rows if pair[0] in first], [pair for pair in self.rows if pair[0] not in first]
        return tuple(RedriveBatch(self.folder, part, self.version) for part in parts)  # type: ignore[return-value]


@dataclass(slots=True)
class Redrive:
    """One run over the selected dead letters. `pause` waits after a failed write, or raises its error."""

    store: DeadLetterStore
    selection: Selection
    checkpoints: Checkpoints | None  # None: do not compare
    decode: Callable[[StoredDeadLetter], Attempt]
    complete: Callable[[StoredDeadLetter], StoredDeadLetter]  # reads the bytes again that were left out
    destination: Destination
    pause: Callable[[Retryable], None]
    counts: Counter[State] = field(default_factory=Counter)

    def plan(self, ledger: Ledger) -> Mapping[State, int]:
        """Return what would happen to the selected dead letters. Change nothing."""
        return Counter(state for _, state, _ in self._candidates(ledger, reads=False))

    def run(self, ledger: Ledger) -> Mapping[State, int]:
        """Redrive the selected dead letters, and return what happened to them.

        Raises:
            Retryable: as `pause` raises it. What `counts` says is done; the next run does the rest.
            ConfigurationError: the dead letters or the ledger cannot be used.
        """
        self._settle_claims(ledger)
        for batch in self._batches(ledger):
            self._deliver(batch, ledger)
        return self.counts

    def _settle_claims(self, ledger: Ledger) -> None:
        """End the batches of a run that was killed: the sink holds them, or their dead letters are taken again."""
        sink, name = self.destination.sink, self.destination.name
        for batch in ledger.unfinished(name):
            if sink.repeats is Deduplication.BY_BATCH and self._patiently(lambda batch=batch: sink.holds(batch)):  # type: ignore[misc]
                ledger.succeeded(batch, name)
            else:
                ledger.release(batch, name)

    def _candidates(self, ledger: Ledger, reads: bool = True) -> Iterator[tuple[str, State, Attempt | None]]:
        """Yield each selected dead letter once: its id, what happens to it, and its rows if it is ready."""
        seen: set[int] = set()
        for letter in self.store.letters():
            if letter in self.selection and (number := int(letter.id, 16)) not in seen:
                seen.add(number)
                yield letter.id, *self._state(letter, ledger, reads)

    def _state(self, letter: StoredDeadLetter, ledger: Ledger, reads: bool) -> tuple[State, Attempt | None]:
        if ledger.written(letter.id, self.destination.name):
            return State.BEFORE, None
        if self.checkpoints is not None and not self.checkpoints.passed(letter):
            return State.WAITING, None
        if letter.data is None and not reads:
            return State.NO_DATA, None
        attempt = self.decode(letter if letter.data is not None else self.complete(letter))
        if attempt.result is not Result.ROWS:
            return _STATES[attempt.result], None
        if not attempt.exact and self.destination.sink.repeats is not Deduplication.BY_ROW:
            return State.SEVERAL, None
        return State.READY, attempt

    def _batches(self, ledger: Ledger) -> Iterator[RedriveBatch]:
        """Yield full batches. Rows of one batch arrived in the same hour, because its folder has that hour."""
        limits, version = self.destination.limits, self.destination.version
        rows: list[tuple[str, EncodedRow]] = []
        size, folder = 0, ""
        for letter, state, attempt in self._candidates(ledger):
            if attempt is None:
                self.counts[state] += 1
                continue
            added = _folder(attempt.rows[0].location.arrived_at)
            if rows and (added != folder or len(rows) >= limits.rows or size >= limits.bytes):
                yield RedriveBatch(folder, rows, version)
                rows, size = [], 0
            folder = added
            rows += [(letter, row) for row in attempt.rows]
            size += sum(len(row.line) for row in attempt.rows)
        if rows:
            yield RedriveBatch(folder, rows, version)

    def _deliver(self, batch: RedriveBatch, ledger: Ledger) -> None:
        """Claim, write and mark a batch. Halve it if the sink rejects all of it for an unknown row."""
        name, letters = self.destination.name, batch.letters
        ledger.claim(letters, name, batch.name)
        rejected: dict[str, str] = {}
        try:
            self._patiently(lambda: self.destination.sink.write(batch))
        except RowsRejected as error:
            rejected = {batch.rows[index][0]: why for index, why in error.rejected.items()}
        except BatchRejected as error:
            if len(letters) > 1:
                for half in batch.halves():
                    self._deliver(half, ledger)
                return
            rejected = {letters[0]: str(error)}
        ledger.rejected(rejected, name, batch.name)
        ledger.succeeded(batch.name, name)
        self.counts[State.NOT_STORED] += len(rejected)
        self.counts[State.REDRIVEN] += len(letters) - len(rejected)

    def _patiently(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except Retryable as error:
                self.pause(error)


def _folder(arrived_at: float) -> str:
    moment = datetime.fromtimestamp(arrived_at, UTC)
    return f"dt={moment:%Y-%m-%d}/hour={moment:%H}"
