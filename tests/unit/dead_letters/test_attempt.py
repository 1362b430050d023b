"""Decode a dead letter again, and take only the events that it stands for."""

import json

import pytest

from consumer.dead_letters import StoredDeadLetter
from consumer.dead_letters.attempt import Result, attempt
from consumer.decoding import dead_letter_limit
from consumer.decoding.deaggregation import aggregate
from consumer.decoding.decoder import Decoder
from consumer.records import DeadLetter, Record, Shard
from tests.events import event_id, numbered_event
from tests.unit.dead_letters.letters import SHARD, STREAM, letter

EVENTS = [numbered_event(number) for number in range(4)]
ARRAY = b"[" + b",".join(EVENTS) + b"]"


def ids(of: StoredDeadLetter) -> list[str]:
    """Return the ids of the events that it becomes."""
    return [json.loads(row.line)["event_id"] for row in attempt(of).rows]


@pytest.mark.parametrize(
    ("stored", "numbers"),
    [
        (letter(7, EVENTS[1]), [1]),
        (letter(7, ARRAY, event_index=2), [2]),
        (letter(7, ARRAY, event_index=2, sub_sequence_number=5), [2]),
        (letter(7, ARRAY, reason="not-json"), [0, 1, 2, 3]),
        (letter(7, aggregate([("k", event) for event in EVENTS]), reason="corrupt-aggregate"), [0, 1, 2, 3]),
    ],
)
def test_only_the_event_that_failed_becomes_a_row(stored: StoredDeadLetter, numbers: list[int]) -> None:
    """The other elements of its array are rows already. A record that was rejected as a whole becomes all its rows."""
    assert ids(stored) == [event_id(number) for number in numbers]
    assert attempt(stored).exact


def test_the_row_is_the_one_that_the_worker_would_have_written() -> None:
    """With the location of the original record, so that nothing tells it from other rows."""
    record = Record(7, "key", 1.7e9, ARRAY)
    expected = list(Decoder(STREAM, Shard(SHARD)).outcomes(record))[2]
    stored = letter(7, ARRAY, event_index=2, partition_key="key", arrived_at="2023-11-14T22:13:20.000Z")
    assert list(attempt(stored).rows) == [expected]


def test_the_original_event_is_added_on_request() -> None:
    """As with the setting `--raw`."""
    [row] = attempt(letter(7, EVENTS[1]), raw=True).rows
    assert json.loads(row.line)["event"] == json.loads(EVENTS[1])


@pytest.mark.parametrize(
    ("stored", "result", "reason"),
    [
        (letter(7, b"not json"), Result.REJECTED, "not-json"),
        (letter(7, b"[" + EVENTS[0] + b",{}]", event_index=1), Result.REJECTED, "not-cloudevent"),
        (letter(7, numbered_event(1, "com.twilio.other")), Result.SKIPPED, ""),
        (letter(7).__class__(**{**{f: getattr(letter(7), f) for f in letter(7).__struct_fields__}, "data": None}),
         Result.NO_DATA, ""),
    ],
)  # fmt: skip
def test_what_becomes_no_row_says_why(stored: StoredDeadLetter, result: Result, reason: str) -> None:
    """Each is told apart in the plan of a redrive."""
    found = attempt(stored)
    assert (found.result, found.reason, found.rows) == (result, reason, ())


def test_a_dead_letter_that_stands_for_more_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one of a long array holds the whole record and counts the rest. It does not say which ones they were."""
    monkeypatch.setattr(dead_letter_limit, "MOST_BYTES", 3 * 4096)
    data = b"[" + b",".join([*[b"{}"] * 3, EVENTS[1], b" " * 4096 + b"{}"]) + b"]"
    outcomes = Decoder(STREAM, Shard(SHARD)).outcomes(Record(7, "key", 1.7e9, data))
    last = [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)][-1]
    assert "so are" in last.message
    mended = data.replace(b"{}", EVENTS[2])
    stored = letter(7, mended, reason=last.reason.value, message=last.message, event_index=last.location.event_index)
    found = attempt(stored)
    assert len(found.rows) == 5 - last.location.event_index
    assert not found.exact


def test_an_internal_error_at_the_first_event_may_have_ended_the_record() -> None:
    """Then the elements after it are not delivered either, but nothing says so."""
    assert ids(letter(7, ARRAY, reason="internal-error")) == [event_id(number) for number in range(4)]
    assert not attempt(letter(7, ARRAY, reason="internal-error")).exact
    assert attempt(letter(7, EVENTS[0], reason="internal-error")).exact
