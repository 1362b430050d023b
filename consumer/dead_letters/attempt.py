"""Decode a stored dead letter with today's decoder, and find the events that it stands for."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from consumer.dead_letters import StoredDeadLetter
from consumer.decoding.deaggregation import is_aggregate
from consumer.decoding.decoder import Decoder
from consumer.decoding.locations import EncodedRow
from consumer.decoding.personal_data import NO_REDACTION, Redaction
from consumer.records import DeadLetter, Reason, Record, Shard, Skipped, UserRecord

# What `DeadLetterLimit` appends to the message of a dead letter that stands for others of its record, too.
_MORE = re.compile(r"; so are \d+ more of this (?:array|record)")
# Nothing of the user record was delivered: it was rejected before its events were told apart.
_WHOLE = {Reason.NOT_JSON.value, Reason.CORRUPT_AGGREGATE.value}


Outcome = EncodedRow | DeadLetter | Skipped


class Result(Enum):
    """What today's decoder makes of a dead letter."""

    ROWS = "becomes a row"
    REJECTED = "is rejected again"
    SKIPPED = "has an event type that is not decoded"
    NO_DATA = "has no data: its bytes were left out"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result, the rows if there are any, and why the decoder rejected the event.

    `exact` is False if some of the rows may have been delivered when the dead letter was written: it stands for events
    that it does not list.
    """

    result: Result
    rows: Sequence[EncodedRow] = ()
    reason: str = ""
    message: str = ""
    exact: bool = True


def attempt(letter: StoredDeadLetter, raw: bool = False, redaction: Redaction = NO_REDACTION) -> Attempt:
    """Decode a dead letter. `raw` and `redaction` are what the settings say."""
    if letter.data is None:
        return Attempt(Result.NO_DATA)
    rows, rejected, exact = [], None, True
    for outcome in _outcomes(letter, letter.data, raw, redaction):
        kind = _concerns(letter, outcome)
        if isinstance(outcome, EncodedRow) and kind:
            rows.append(outcome)
            exact = exact and kind is not _MAYBE
        elif isinstance(outcome, DeadLetter) and kind:
            rejected = rejected or outcome
    if rows:
        return Attempt(Result.ROWS, rows, exact=exact)
    if rejected is not None:
        return Attempt(Result.REJECTED, reason=rejected.reason.value, message=rejected.message)
    return Attempt(Result.SKIPPED)


_YES, _MAYBE = "yes", "maybe"


def _concerns(letter: StoredDeadLetter, outcome: Outcome) -> str:
    """Return whether the dead letter stands for this event, or may do so; "" if it does not."""
    location = getattr(outcome, "location", None)
    if location is None:
        return ""
    if letter.reason in _WHOLE and not _MORE.search(letter.message):
        of_record = letter.reason == Reason.CORRUPT_AGGREGATE.value
        return _YES if of_record or location.sub_sequence == letter.sub_sequence_number else ""
    found = location.sub_sequence, location.event_index
    wanted = letter.sub_sequence_number, letter.event_index
    if found == wanted:
        return _YES
    # An internal error may have ended the whole record at its first event.
    several = _MORE.search(letter.message) or (letter.reason == Reason.INTERNAL_ERROR.value and wanted[1] == 0)
    return _MAYBE if several and found > wanted else ""


def _outcomes(letter: StoredDeadLetter, data: bytes, raw: bool, redaction: Redaction) -> Iterable[Outcome]:
    decoder = Decoder(letter.stream_name, Shard(letter.shard_id), raw, redaction=redaction)
    sequence, key, arrived_at = letter.sequence, letter.partition_key, _seconds(letter.arrived_at)
    if is_aggregate(data):
        return decoder.outcomes(Record(sequence, key, arrived_at, data))
    return decoder.outcomes(UserRecord(sequence, letter.sub_sequence_number, key, arrived_at, data))


def _seconds(time: str) -> float:
    """Return a time in epoch seconds, 0.0 if it is unknown or damaged."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0
