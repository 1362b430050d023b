"""Decode records into rows, dead letters and skipped events. Check the type first, then the envelope and the payload.

Every event becomes exactly one of the three. The decoder never raises because of a record's content, and no message
carries a value of an event (docs/guarantees.md#no-personal-data).
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from consumer.decoding.arrays import events
from consumer.decoding.dead_letter_limit import DeadLetterLimit
from consumer.decoding.deaggregation import deaggregate
from consumer.decoding.fast_path import Event, decode_fast, from_document
from consumer.decoding.flattening import flatten
from consumer.decoding.json_document import MOST_VALUES, TooLarge
from consumer.decoding.redaction import encode_row
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.validation import validate
from consumer.decoding.warnings import Warnings
from consumer.records import (
    DeadLetter,
    EventLocation,
    Outcome,
    Position,
    PositionKind,
    Reason,
    Record,
    Row,
    Shard,
    Skipped,
    UserRecord,
)
from schemas.event_types import EVENT_TYPES

INVALID_TYPE = "odd"  # shown instead of a type that does not look like one: it could be a phone number
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{,127}")
LONGEST_ROW = 24 * 1024 * 1024  # bytes; an event whose row is longer becomes a dead letter
SHORTEST_EVENT = len(b'{"type":"a"}')  # bytes; anything shorter becomes a dead letter
_encode = msgspec.json.Encoder().encode


class Processed(msgspec.Struct, frozen=True, gc=False):
    """The outcomes of one Kinesis record; `last` is the position of its last user record.

    Iterate `outcomes` once. It builds the outcomes of a large record one at a time, to bound memory.
    """

    outcomes: Iterable[Outcome]
    user_records: int
    out_of_range: int
    last: Position


class Decoder:
    """Decode the records of one shard."""

    def __init__(self, stream_name: str, shard: Shard, raw: bool = False) -> None:
        self._stream_name, self._shard, self._raw = stream_name, shard, raw

    def __call__(self, record: Record, after: Position, /) -> Processed:
        """Decode a record without its user records up to and including `after`."""
        try:
            user_records, count, outside = deaggregate(record, self._shard.hash_range)
        except Exception as error:
            whole = UserRecord(record.sequence, 0, record.partition_key, record.arrived_at, record.data)
            return Processed([self._dead_letter(error, whole, 0)], 1, 0, Position.of(record.sequence))
        last = Position.of(record.sequence, count - 1)
        if after.kind is PositionKind.SEQUENCE and record.sequence <= after.sequence:
            user_records = [] if last <= after else islice(user_records, after.sub_sequence + 1, None)
        if count == 1 and user_records:
            [only] = user_records
            outcomes = self.decode(only)
        else:
            outcomes = self._decode_all(user_records, record.data)
        return Processed(outcomes, count, outside, last)

    def decode(self, user_record: UserRecord) -> Iterable[Outcome]:
        """Return the outcomes of one user record: a single event, or the events of a JSON array."""
        outcome = self._decode_fast(user_record)
        return [outcome] if outcome is not None else self._decode_all([user_record], user_record.data)

    def _decode_all(self, user_records: Iterable[UserRecord], whole: bytes) -> Iterator[Outcome]:
        limit = DeadLetterLimit(whole)
        for user_record in user_records:
            outcome = self._decode_fast(user_record)
            if outcome is not None:
                yield outcome
            elif limit.full and len(user_record.data) < SHORTEST_EVENT and b"[" not in user_record.data:
                limit.more += 1
            else:
                yield from self._decode_document(user_record, limit)
        yield from limit.rest()

    def _decode_fast(self, user_record: UserRecord) -> Outcome | None:
        """Decode an event of the usual shape. Return None for any other, which needs `_decode_document`."""
        if self._raw or not SHORTEST_EVENT < len(user_record.data) < MOST_VALUES:
            return None
        try:
            event = decode_fast(user_record.data)
            if event is None:
                return None
            return self._row(event, Warnings(), user_record, 0) if event.type in EVENT_TYPES else _skipped(event.type)
        except Exception as error:
            return self._dead_letter(error, user_record, 0)

    def _decode_document(self, user_record: UserRecord, limit: DeadLetterLimit) -> Iterator[Outcome]:
        repairs = Warnings()
        try:
            found = events(user_record.data, repairs)
        except Exception as error:
            yield from limit.take(self._dead_letter(error, user_record, 0))
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

    def _outcome(self, event: Any, warnings: Warnings, user_record: UserRecord, index: int) -> Outcome:
        try:
            if isinstance(event, TooLarge):
                other = event.event_type and event.event_type not in EVENT_TYPES
                return _skipped(event.event_type) if other else self._dead_letter(event, user_record, index)
            if not isinstance(event, dict):
                raise RecordRejected(Reason.NOT_CLOUDEVENT, "it is not a JSON object")
            event_type = event.get("type")
            if isinstance(event_type, str) and event_type and event_type not in EVENT_TYPES:
                return _skipped(event_type)
            row = self._row(from_document(validate(event, warnings)), warnings, user_record, index)
            return _with_event(row, event) if self._raw else row
        except Exception as error:
            return self._dead_letter(error, user_record, index)

    def _row(self, event: Event, warnings: Warnings, user_record: UserRecord, index: int) -> Row:
        location = self._location(user_record, index)
        line = encode_row(flatten(event, EVENT_TYPES[event.type], location, warnings))
        if len(line) > LONGEST_ROW:
            raise _too_long()
        return Row(line, location, user_record.data)

    def _location(self, user_record: UserRecord, index: int) -> EventLocation:
        return EventLocation(
            self._stream_name,
            self._shard.shard_id,
            user_record.sequence,
            user_record.sub_sequence,
            index,
            user_record.partition_key,
            user_record.arrived_at,
        )

    def _dead_letter(self, error: Exception, user_record: UserRecord, index: int) -> DeadLetter:
        """Return the dead letter for an error. Name an unforeseen error only by class: its text may hold a value."""
        location = self._location(user_record, index)
        if isinstance(error, RecordRejected):
            return DeadLetter(error.reason, str(error), location, user_record.data)
        return DeadLetter(Reason.INTERNAL_ERROR, type(error).__name__, location, user_record.data)


def _skipped(event_type: str) -> Skipped:
    return Skipped(event_type if _NAME.fullmatch(event_type) else INVALID_TYPE)


def _with_event(row: Row, event: dict[str, Any]) -> Row:
    """Return the row with the original event added as the member `event`."""
    encoded = _encode(event)
    if len(row.line) + len(encoded) > LONGEST_ROW:
        raise _too_long()
    return replace(row, line=b"".join((memoryview(row.line)[:-1], b',"event":', encoded, b"}")))


def _too_long() -> RecordRejected:
    return RecordRejected(Reason.INVALID_EVENT, f"its row takes more than {LONGEST_ROW // 2**20} MiB")
