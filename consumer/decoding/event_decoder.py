"""Decode user records into rows, dead letters and skipped events. Check the type first, then envelope and payload.

Every event becomes exactly one of the three. Nothing raises because of a record's content, and no message carries a
value of an event (docs/guarantees.md#no-personal-data).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from consumer.decoding.arrays import events
from consumer.decoding.dead_letter_limit import DeadLetterLimit
from consumer.decoding.fast_path import FastPath
from consumer.decoding.flattening import flatten
from consumer.decoding.json_document import TooLarge
from consumer.decoding.personal_data import NO_REDACTION, Redaction
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.rows import encode_row, with_event
from consumer.decoding.strict_values import product_of
from consumer.decoding.validation import validate
from consumer.decoding.voice_event import from_document
from consumer.decoding.warnings import Warnings
from consumer.records import DeadLetter, EventLocation, Reason, Skipped, UserRecord, from_epoch
from schemas.event_types import EVENT_TYPES

INVALID_TYPE = "odd"  # shown instead of a type that does not look like one: it could be a phone number
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{,127}")
LONGEST_ROW = 24 * 1024 * 1024  # bytes; an event whose row is longer becomes a dead letter
SHORTEST_EVENT = len(b'{"type":"a"}')  # bytes; anything shorter becomes a dead letter
LARGE = 64 * 1024  # bytes; the fast path takes no longer user record, so that no limit of the careful way can apply
Outcome = msgspec.Struct | bytes | DeadLetter | Skipped  # a row of the fast path, or an encoded row of the careful way

Fast = Callable[..., msgspec.Struct | None]


class EventDecoder:
    """Decode the user records of one shard.

    `raw`: add the original event to each row. `redaction`: changes each row before it is encoded.
    """

    def __init__(self, stream_name: str, shard_id: str, raw: bool, redaction: Redaction = NO_REDACTION) -> None:
        self._stream_name, self._shard_id, self._raw, self._redact = stream_name, shard_id, raw, redaction
        self.fast: Fast = FastPath(stream_name, shard_id) if not raw else _no_fast_path
        if redaction:
            self.fast = _redacted(self.fast, redaction)

    def outcomes(self, user_records: Iterable[UserRecord], whole: bytes) -> Iterator[tuple[UserRecord, Outcome]]:
        """Yield the outcomes of one Kinesis record, each with its user record. `whole`: the data of that record."""
        limit = DeadLetterLimit(whole)
        for user_record in user_records:
            if limit.full and len(user_record.data) < SHORTEST_EVENT and b"[" not in user_record.data:
                limit.more += 1
            else:
                for outcome in self._decode(user_record, limit):
                    yield user_record, outcome
        for dead_letter in limit.rest():
            yield user_record, dead_letter

    def _decode(self, user_record: UserRecord, limit: DeadLetterLimit) -> Iterator[Outcome]:
        row = self._fast(user_record)
        if row is not None:
            yield row
            return
        repairs = Warnings()
        try:
            found = events(user_record.data, repairs)
        except Exception as error:
            yield from limit.take(self.dead_letter(error, user_record, 0))
            return
        for index, event in enumerate(found):
            if limit.full and not (isinstance(event, TooLarge) or (isinstance(event, dict) and "type" in event)):
                limit.more += 1  # it can only become a dead letter, so do not validate it
                continue
            outcome = self._outcome(event, Warnings(repairs), user_record, index)
            if isinstance(outcome, DeadLetter):
                yield from limit.take(outcome)
            else:
                yield outcome

    def _fast(self, user_record: UserRecord) -> msgspec.Struct | None:
        if len(user_record.data) > LARGE:
            return None
        sequence, arrived_at = str(user_record.sequence), from_epoch(user_record.arrived_at)
        return self.fast(user_record.data, sequence, user_record.sub_sequence, user_record.partition_key, arrived_at)

    def _outcome(self, event: Any, warnings: Warnings, user_record: UserRecord, index: int) -> Outcome:
        try:
            if isinstance(event, TooLarge):
                other = event.event_type and event.event_type not in EVENT_TYPES
                return self._skipped(event.event_type) if other else self.dead_letter(event, user_record, index)
            if not isinstance(event, dict):
                raise RecordRejected(Reason.NOT_CLOUDEVENT, "it is not a JSON object")
            event_type = event.get("type")
            if isinstance(event_type, str) and event_type and event_type not in EVENT_TYPES:
                return self._skipped(event_type)
            return self._row(event, warnings, user_record, index)
        except Exception as error:
            return self.dead_letter(error, user_record, index)

    def _row(self, event: dict[str, Any], warnings: Warnings, user_record: UserRecord, index: int) -> bytes:
        valid = from_document(validate(event, warnings))
        row = flatten(valid, EVENT_TYPES[valid.type], self._location(user_record, index), warnings)
        self._redact(row)
        line = encode_row(row)
        if self._raw:
            line = with_event(line, event)
        if len(line) > LONGEST_ROW:
            raise RecordRejected(Reason.INVALID_EVENT, f"its row takes more than {LONGEST_ROW // 2**20} MiB")
        return line

    def _location(self, user_record: UserRecord, index: int) -> EventLocation:
        return EventLocation(
            self._stream_name,
            self._shard_id,
            user_record.sequence,
            user_record.sub_sequence,
            index,
            user_record.partition_key,
            user_record.arrived_at,
        )

    def _skipped(self, event_type: str) -> Skipped:
        if self._redact.strict:
            return Skipped(product_of(event_type) or INVALID_TYPE)
        return Skipped(event_type if _NAME.fullmatch(event_type) else INVALID_TYPE)

    def dead_letter(self, error: Exception, user_record: UserRecord, index: int) -> DeadLetter:
        """Return the dead letter for an error. Name an unforeseen error only by class: its text may hold a value."""
        location = self._location(user_record, index)
        if isinstance(error, RecordRejected):
            return DeadLetter(error.reason, str(error), location, user_record.data)
        return DeadLetter(Reason.INTERNAL_ERROR, type(error).__name__, location, user_record.data)


def _redacted(fast: Fast, redact: Redaction) -> Fast:
    """Return the fast path with a redaction. A row that cannot be redacted is left to the careful way."""

    def redacted(data: bytes, *location: Any) -> msgspec.Struct | None:
        try:
            row = fast(data, *location)
            if row is not None:
                redact(row)
            return row
        except Exception:
            return None

    return redacted


def _no_fast_path(*_: object) -> None:
    return None
