"""From bytes to rows, dead letters and skipped events: the type decides first, then the envelope, then the payload.

Whatever arrives ends as one of the three. Nothing in here raises for what a record holds, and no message carries a
value of it.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from consumer.decoding.arrays import events
from consumer.decoding.dead_letter_limit import Letters
from consumer.decoding.deaggregation import deaggregate
from consumer.decoding.fast_path import Event, ordinary, validated
from consumer.decoding.flattening import Family, flatten
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

FAMILY = {
    "com.twilio.voice.api-request.call.created": Family("call", "created"),
    "com.twilio.voice.api-request.call.modified": Family("call", "modified"),
    "com.twilio.voice.api-request.conference.modified": Family("conference", "modified"),
    "com.twilio.voice.api-request.conference-participant.created": Family("conference_participant", "created"),
    "com.twilio.voice.api-request.conference-participant.modified": Family("conference_participant", "modified"),
    "com.twilio.voice.api-request.conference-participant.deleted": Family("conference_participant", "deleted"),
}
ODD_TYPE = "odd"  # stands for what does not look like an event type, and may be anything, a phone number too
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{,127}")
SHORTEST_EVENT = len(b'{"type":"a"}')  # that is not a dead letter
_encode = msgspec.json.Encoder().encode


class Processed(msgspec.Struct, frozen=True, gc=False):
    """What became of one Kinesis record; `last` is the place of its last user record.

    The outcomes of a large record are made while they are iterated, once, so that they are never all in memory.
    """

    outcomes: Iterable[Outcome]
    user_records: int
    out_of_range: int
    last: Position


class Decoder:
    """Decodes the records of one shard."""

    def __init__(self, stream_name: str, shard: Shard, raw: bool = False) -> None:
        self._stream_name, self._shard, self._raw = stream_name, shard, raw

    def __call__(self, record: Record, after: Position, /) -> Processed:
        """Decode a record, leaving out its user records up to and including `after`."""
        try:
            user_records, count, outside = deaggregate(record, self._shard.hash_range)
        except Exception as error:
            whole = UserRecord(record.sequence, 0, record.partition_key, record.arrived_at, record.data)
            return Processed([self._letter(error, whole, 0)], 1, 0, Position.of(record.sequence))
        last = Position.of(record.sequence, count - 1)
        if after.rank is PositionKind.SEQUENCE and record.sequence <= after.sequence:
            user_records = [] if last <= after else islice(user_records, after.sub_sequence + 1, None)
        if count == 1 and user_records:
            [only] = user_records
            outcomes = self.decode(only)
        else:
            outcomes = self._decode_all(user_records, record.data)
        return Processed(outcomes, count, outside, last)

    def decode(self, user_record: UserRecord) -> Iterable[Outcome]:
        """Return what one user record holds: one event, or several in a JSON array."""
        outcome = self._ordinary(user_record)
        return [outcome] if outcome is not None else self._decode_all([user_record], user_record.data)

    def _decode_all(self, user_records: Iterable[UserRecord], whole: bytes) -> Iterator[Outcome]:
        letters = Letters(whole)
        for user_record in user_records:
            outcome = self._ordinary(user_record)
            if outcome is not None:
                yield outcome
            elif letters.full and len(user_record.data) < SHORTEST_EVENT and b"[" not in user_record.data:
                letters.more += 1
            else:
                yield from self._carefully(user_record, letters)
        yield from letters.rest()

    def _ordinary(self, user_record: UserRecord) -> Outcome | None:
        """Decode an ordinary event; None for anything else."""
        if self._raw or not SHORTEST_EVENT < len(user_record.data) < MOST_VALUES:
            return None
        try:
            event = ordinary(user_record.data)
            if event is None:
                return None
            return self._row(event, Warnings(), user_record, 0) if event.type in FAMILY else _skipped(event.type)
        except Exception as error:
            return self._letter(error, user_record, 0)

    def _carefully(self, user_record: UserRecord, letters: Letters) -> Iterator[Outcome]:
        mended = Warnings()
        try:
            found = events(user_record.data, mended)
        except Exception as error:
            yield from letters.take(self._letter(error, user_record, 0))
            return
        for index, event in enumerate(found):
            if letters.full and not (isinstance(event, TooLarge) or (isinstance(event, dict) and "type" in event)):
                letters.more += 1  # what it would say is told by none
                continue
            outcome = self._outcome(event, Warnings(mended), user_record, index)
            if isinstance(outcome, DeadLetter):
                yield from letters.take(outcome)
            else:
                yield outcome

    def _outcome(self, event: Any, odd: Warnings, user_record: UserRecord, index: int) -> Outcome:
        try:
            if isinstance(event, TooLarge):
                other = event.event_type and event.event_type not in FAMILY
                return _skipped(event.event_type) if other else self._letter(event, user_record, index)
            if not isinstance(event, dict):
                raise RecordRejected(Reason.NOT_CLOUDEVENT, "it is no JSON object")
            event_type = event.get("type")
            if isinstance(event_type, str) and event_type and event_type not in FAMILY:
                return _skipped(event_type)
            row = self._row(validated(validate(event, odd)), odd, user_record, index)
            return _with_event(row, event) if self._raw else row
        except Exception as error:
            return self._letter(error, user_record, index)

    def _row(self, event: Event, odd: Warnings, user_record: UserRecord, index: int) -> Row:
        place = self._place(user_record, index)
        return Row(encode_row(flatten(event, FAMILY[event.type], place, odd)), place, user_record.data)

    def _place(self, user_record: UserRecord, index: int) -> EventLocation:
        return EventLocation(
            self._stream_name,
            self._shard.shard_id,
            user_record.sequence,
            user_record.sub_sequence,
            index,
            user_record.partition_key,
            user_record.arrived_at,
        )

    def _letter(self, error: Exception, user_record: UserRecord, index: int) -> DeadLetter:
        """Of anything unforeseen only the kind is told: its text may carry a value."""
        place = self._place(user_record, index)
        if isinstance(error, RecordRejected):
            return DeadLetter(error.reason, str(error), place, user_record.data)
        return DeadLetter(Reason.INTERNAL_ERROR, type(error).__name__, place, user_record.data)


def _skipped(event_type: str) -> Skipped:
    return Skipped(event_type if _NAME.fullmatch(event_type) else ODD_TYPE)


def _with_event(row: Row, event: dict[str, Any]) -> Row:
    """The row with the event as it came."""
    return replace(row, line=b'%b,"event":%b}' % (row.line[:-1], _encode(event)))
