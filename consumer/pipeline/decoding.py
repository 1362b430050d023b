"""From bytes to rows, dead letters and skipped events: the type decides first, then the envelope, then the payload.

Whatever arrives ends as one of the three. Nothing in here raises for what a record holds, and no message carries a
value of it.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from consumer.pipeline.deaggregation import deaggregate
from consumer.pipeline.flattening import Family, flatten
from consumer.pipeline.oddities import Oddities
from consumer.pipeline.ordinary import Event, ordinary, validated
from consumer.pipeline.parsing import parse
from consumer.pipeline.redaction import encode_row
from consumer.pipeline.refusal import Refused
from consumer.pipeline.validation import validate
from consumer.records import DeadLetter, Outcome, Place, Position, Rank, Reason, Record, Row, Shard, Skipped, UserRecord

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
# Each dead letter of an array holds the whole array, so many of a long one would be more than any disk takes.
MOST_BYTES_OF_LETTERS = 16 * 1024 * 1024
_encode = msgspec.json.Encoder().encode


class Processed(msgspec.Struct, frozen=True, gc=False):
    """What became of one Kinesis record; `last` is the place of its last user record."""

    outcomes: Sequence[Outcome]
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
            user_records, outside = deaggregate(record, self._shard.hash_range)
        except Exception as error:
            whole = UserRecord(record.sequence, 0, record.partition_key, record.arrived_at, record.data)
            return Processed([self._letter(error, whole, 0)], 1, 0, Position.of(record.sequence))
        last = Position.of(record.sequence, len(user_records) - 1)
        fresh = user_records
        if after.rank is Rank.SEQUENCE and record.sequence <= after.sequence:
            fresh = [one for one in user_records if after < Position.of(record.sequence, one.sub_sequence)]
        outcomes = self.decode(fresh[0]) if len(fresh) == 1 else [one for part in fresh for one in self.decode(part)]
        return Processed(outcomes, len(user_records), outside, last)

    def decode(self, user_record: UserRecord) -> list[Outcome]:
        """What one user record holds: one event, or several in a JSON array."""
        mended = Oddities()
        try:
            event = None if self._raw else ordinary(user_record.data)
            if event is not None:
                known = event.type in FAMILY
                return [self._row(event, mended, user_record, 0) if known else _skipped(event.type)]
            document = parse(user_record.data, mended)
            if isinstance(document, list):
                return self._array(document, mended, user_record)
        except Exception as error:
            return [self._letter(error, user_record, 0)]
        return [self._outcome(document, mended, user_record, 0)]

    def _array(self, events: list[Any], mended: Oddities, user_record: UserRecord) -> list[Outcome]:
        if not events:
            raise Refused(Reason.NOT_CLOUDEVENT, "an empty array")
        return _bounded([self._outcome(event, Oddities(mended), user_record, n) for n, event in enumerate(events)])

    def _outcome(self, event: Any, odd: Oddities, user_record: UserRecord, index: int) -> Outcome:
        try:
            if not isinstance(event, dict):
                raise Refused(Reason.NOT_CLOUDEVENT, "it is no JSON object")
            event_type = event.get("type")
            if isinstance(event_type, str) and event_type and event_type not in FAMILY:
                return _skipped(event_type)
            row = self._row(validated(validate(event, odd)), odd, user_record, index)
            return _with_event(row, event) if self._raw else row
        except Exception as error:
            return self._letter(error, user_record, index)

    def _row(self, event: Event, odd: Oddities, user_record: UserRecord, index: int) -> Row:
        place = self._place(user_record, index)
        return Row(encode_row(flatten(event, FAMILY[event.type], place, odd)), place, user_record.data)

    def _place(self, user_record: UserRecord, index: int) -> Place:
        return Place(
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
        if isinstance(error, Refused):
            return DeadLetter(error.reason, str(error), place, user_record.data)
        return DeadLetter(Reason.INTERNAL_ERROR, type(error).__name__, place, user_record.data)


def _skipped(event_type: str) -> Skipped:
    return Skipped(event_type if _NAME.fullmatch(event_type) else ODD_TYPE)


def _with_event(row: Row, event: dict[str, Any]) -> Row:
    """The row with the event as it came."""
    return replace(row, line=b'%b,"event":%b}' % (row.line[:-1], _encode(event)))


def _bounded(outcomes: list[Outcome]) -> list[Outcome]:
    """The outcomes of an array; if its dead letters are too large together, the last that fits stands for the rest."""
    letters = [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]
    most = max(1, MOST_BYTES_OF_LETTERS // len(letters[0].data)) if letters else 0
    if len(letters) <= most:
        return outcomes
    rest = set(letters[most:])
    last = letters[most - 1]
    standing = replace(last, message=f"{last.message}; so are {len(rest)} more of this array")
    return [standing if outcome is last else outcome for outcome in outcomes if outcome not in rest]
