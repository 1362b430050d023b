"""Collect what records become, until it is worth a block."""

from collections.abc import Iterable, Sequence

import msgspec

from consumer.decoding.event_decoder import Outcome
from consumer.decoding.rows import encode_rows
from consumer.records import TRIM_HORIZON, Block, DeadLetter, Decoded, Position, Record, Skipped, UserRecord

# Most events of a block, and the bytes of their user records after which a block ends.
MOST_EVENTS = 64
ENOUGH_BYTES = 256 * 1024


class BlockDraft:
    """The rows, dead letters, skipped events and counts of a block. `keep_data`: whether it keeps the user records."""

    def __init__(self, keep_data: bool, most: int = MOST_EVENTS) -> None:
        self._keep_data, self._most = keep_data, min(most, MOST_EVENTS)
        self._rows: list[msgspec.Struct] = []  # not encoded yet
        self._lines: list[bytes] = []
        self._count = self._outcomes = self._size = 0
        self._data: list[bytes] = []
        self._dead_letters: list[DeadLetter] = []
        self._skipped: list[str] = []
        self._records = self._user_records = self._out_of_range = self._first = 0
        self._last, self._arrived_at = TRIM_HORIZON, 0.0

    def begin(self, sequence: int, last: Position, arrived_at: float, user_records: int = 1, outside: int = 0) -> None:
        """Begin the next Kinesis record, whose last user record is at `last`."""
        if not self._records:
            self._first = sequence
        self._last, self._arrived_at = last, arrived_at
        self._records += 1
        self._user_records += user_records
        self._out_of_range += outside

    def add_usual(self, records: Sequence[Record], rows: Sequence[msgspec.Struct]) -> None:
        """Add plain records, each with one row."""
        last = records[-1]
        self.begin(records[0].sequence, Position.of(last.sequence), last.arrived_at)
        self._records += len(records) - 1
        self._user_records += len(records) - 1
        self.add_rows(rows, records)

    def add_rows(self, rows: Sequence[msgspec.Struct], records: Sequence[Record | UserRecord]) -> None:
        """Add a row for each of the first records."""
        data = [record.data for _, record in zip(rows, records, strict=False)]
        self._rows += rows
        self._count += len(rows)
        self._outcomes += len(rows)
        self._size += sum(map(len, data))
        if self._keep_data:
            self._data += data

    def _add_row(self, row: msgspec.Struct, data: bytes) -> None:
        self._rows.append(row)
        self._note_row(len(data), data)

    def _note_row(self, size: int, data: bytes) -> None:
        self._count += 1
        self._size += size
        if self._keep_data:
            self._data.append(data)

    def add(self, outcome: Outcome, data: bytes) -> None:
        """Add any outcome of an event in the user record `data`."""
        self._outcomes += 1
        if isinstance(outcome, DeadLetter):
            self._dead_letters.append(outcome)
            self._size += len(data)
        elif isinstance(outcome, Skipped):
            self._skipped.append(outcome.event_type)
        elif isinstance(outcome, bytes):
            self._encode()
            self._lines += (outcome, b"\n")
            self._note_row(len(outcome), data)
        else:
            self._add_row(outcome, data)

    def add_all(self, outcomes: Iterable[tuple[UserRecord, Outcome]]) -> None:
        """Add outcomes, each with its user record."""
        for user_record, outcome in outcomes:
            self.add(outcome, user_record.data)

    @property
    def room(self) -> int:
        """Return how many more events the block may have."""
        return self._most - self._outcomes

    @property
    def full(self) -> bool:
        """Return whether the block should end here."""
        return self._outcomes >= self._most or self._size >= ENOUGH_BYTES

    @property
    def empty(self) -> bool:
        """Return whether the draft has neither events nor records."""
        return not self._outcomes and not self._records

    def would_mix(self, outcome: Outcome) -> bool:
        """Return whether a long row would share a block with others. It should not, so that it can be written alone."""
        return isinstance(outcome, bytes) and len(outcome) >= ENOUGH_BYTES and self._count > 0

    def _encode(self) -> None:
        if self._rows:
            self._lines.append(encode_rows(self._rows))
            self._rows = []

    def decoded(self) -> Decoded:
        """Return everything that was added."""
        self._encode()
        lines = self._lines[0] if len(self._lines) == 1 else b"".join(self._lines)
        return Decoded(
            Block(lines, self._count, self._data),
            self._dead_letters,
            self._skipped,
            self._records,
            self._user_records,
            self._out_of_range,
            self._first,
            self._last,
            self._arrived_at,
        )

    def next(self) -> "BlockDraft":
        """Return an empty draft for more of the same record, which is counted already."""
        draft = BlockDraft(self._keep_data)
        draft._first, draft._last, draft._arrived_at = self._first, self._last, self._arrived_at
        return draft
