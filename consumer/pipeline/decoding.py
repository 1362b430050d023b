"""From bytes to rows, dead letters and skipped events: the type decides first, then the envelope, then the payload.

Whatever arrives ends as one of the three. Nothing in here raises for what a record holds, and no message carries a
value of it.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from consumer.pipeline.deaggregation import CorruptAggregate, deaggregate
from consumer.pipeline.flattening import Oddities, flatten
from consumer.records import DeadLetter, Outcome, Place, Position, Reason, Record, Row, Shard, Skipped, UserRecord
from schemas.call_request import Oddity
from schemas.cloudevent import CloudEvent
from schemas.voice_api_request import VoiceApiRequest

FAMILY = {
    f"com.twilio.voice.api-request.{name}": (resource, action)
    for name, resource, action in (
        ("call.created", "call", "created"),
        ("call.modified", "call", "modified"),
        ("conference.modified", "conference", "modified"),
        ("conference-participant.created", "conference_participant", "created"),
        ("conference-participant.modified", "conference_participant", "modified"),
        ("conference-participant.deleted", "conference_participant", "deleted"),
    )
}
TEST_EVENT = "com.twilio.eventstreams.test-event"
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Refused(Exception):
    """An event can't become a row; the reason and words without values."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Processed(NamedTuple):
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
        except CorruptAggregate as error:
            place = self._place(UserRecord(record.sequence, 0, record.partition_key, record.arrived_at, b""), 0)
            letter = DeadLetter(Reason.CORRUPT_AGGREGATE, str(error), place, record.data)
            return Processed([letter], 1, 0, Position.of(record.sequence, 0))
        outcomes: list[Outcome] = []
        for user_record in user_records:
            if after < Position.of(user_record.sequence, user_record.sub_sequence):
                outcomes.extend(self.decode(user_record))
        last = Position.of(record.sequence, user_records[-1].sub_sequence)
        return Processed(outcomes, len(user_records), outside, last)

    def decode(self, user_record: UserRecord) -> list[Outcome]:
        """What one user record holds: one event, or several in a JSON array."""
        try:
            document, mended = parse(user_record.data)
        except Refused as error:
            return [self._letter(error.reason, str(error), user_record, 0)]
        events = document if isinstance(document, list) else [document]
        if not events:
            return [self._letter(Reason.NOT_CLOUDEVENT, "an empty array", user_record, 0)]
        return [self._outcome(event, mended, user_record, index) for index, event in enumerate(events)]

    def _outcome(self, event: Any, mended: bool, user_record: UserRecord, index: int) -> Outcome:
        try:
            return self._row(event, mended, user_record, index)
        except Refused as error:
            return self._letter(error.reason, str(error), user_record, index)
        except Exception as error:
            return self._letter(Reason.INTERNAL_ERROR, type(error).__name__, user_record, index)

    def _row(self, event: Any, mended: bool, user_record: UserRecord, index: int) -> Outcome:
        event_type = event.get("type") if isinstance(event, dict) else None
        what = FAMILY.get(event_type) if isinstance(event_type, str) else None
        if what is None and isinstance(event_type, str) and event_type:
            return Skipped(event_type)
        envelope = _envelope(event)
        if what is None:
            return Skipped(envelope.type)
        odd = Oddities([Oddity.UNICODE.value] if mended else [])
        place = self._place(user_record, index)
        row: dict[str, Any] = {**flatten(envelope, _payload(envelope, odd), what, place, odd)}
        if self._raw:
            row["event"] = event
        return Row(_encode(row), place, user_record.data)

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

    def _letter(self, reason: Reason, message: str, user_record: UserRecord, index: int) -> DeadLetter:
        return DeadLetter(reason, message, self._place(user_record, index), user_record.data)


def parse(data: bytes) -> tuple[Any, bool]:
    """JSON of a user record, and whether lone surrogates or outsize numbers had to be mended.

    Raises:
        Refused: it is no JSON.
    """
    if data.startswith(_GZIP):
        raise Refused(Reason.NOT_JSON, "it is compressed with gzip")
    try:
        return _decode(data.removeprefix(_BOM)), False
    except RecursionError:
        raise Refused(Reason.NOT_JSON, "it is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_oddly(data), True


def _parse_oddly(data: bytes) -> Any:
    """The stdlib takes a few documents that are JSON by the letter, such as those with lone surrogates."""
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
        return _mended(json.loads(text, parse_constant=_no_constant))
    except UnicodeDecodeError:
        raise Refused(Reason.NOT_JSON, "it is not UTF-8") from None
    except RecursionError:
        raise Refused(Reason.NOT_JSON, "it is nested too deep") from None
    except ValueError:
        raise Refused(Reason.NOT_JSON, "it does not parse" if data else "it is empty") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return float(value) if value.bit_length() < 1000 else None
    return value


def _envelope(event: Any) -> CloudEvent:
    if not isinstance(event, dict):
        raise Refused(Reason.NOT_CLOUDEVENT, "it is not a JSON object")
    try:
        return CloudEvent.model_validate(event)
    except ValidationError as error:
        names = ", ".join(dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()))
        raise Refused(Reason.NOT_CLOUDEVENT, f"missing, empty or no string: {names}") from None


def _payload(event: CloudEvent, odd: Oddities) -> VoiceApiRequest:
    data = event.data
    if data is None and isinstance(event.data_base64, str):
        odd.note(Oddity.DATA_BASE64)
        try:
            data = parse(base64.b64decode(event.data_base64, validate=True))[0]
        except (ValueError, Refused):
            raise Refused(Reason.INVALID_EVENT, "data_base64 is not base64 of JSON") from None
    elif isinstance(data, str):
        odd.note(Oddity.DATA_STRING)
        try:
            data = parse(data.encode())[0]
        except Refused:
            raise Refused(Reason.INVALID_EVENT, "data is a string, and no JSON") from None
    if not isinstance(data, dict):
        raise Refused(Reason.INVALID_EVENT, "data is missing or no object")
    try:
        return VoiceApiRequest.model_validate(data)
    except ValidationError:
        raise Refused(Reason.INVALID_EVENT, "data.sid is missing, empty or no string") from None
