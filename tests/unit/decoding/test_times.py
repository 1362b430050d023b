"""Parse the two date formats of a payload."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decoding.times import from_rfc3339, instant
from tests.events import event, row, with_payload

NOON = "2025-08-24T12:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NOON, NOON),
        ("2025-08-24T12:00:00Z", NOON),
        ("2025-08-24t12:00:00z", NOON),
        ("2025-08-24 12:00:00Z", NOON),
        ("2025-08-24T12:00:00.5Z", "2025-08-24T12:00:00.500Z"),
        ("2025-08-24T12:00:00.563495225Z", "2025-08-24T12:00:00.563Z"),
        ("2025-08-24T12:00:00.999999999Z", "2025-08-24T12:00:00.999Z"),
        ("2025-08-24T14:00:00.000+02:00", NOON),
        ("2025-08-24T06:30:00-05:30", NOON),
        ("2025-08-24T12:00:00-00:00", NOON),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2016-12-31T23:59:60.250Z", "2017-01-01T00:00:00.250Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00.000Z"),
        ("0000-01-01T00:00:00.000Z", None),
        ("10000-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:60Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("2025-02-29T12:00:00.000Z", None),
        ("2025-08-24T24:00:00Z", None),
        ("2025-08-24T12:61:00Z", None),
        ("2025-08-24T12:00:61Z", None),
        ("2025-08-24T12:00:00", None),
        ("2025-08-24T12:00:00.000", None),
        ("2025-08-24T12:00:00+0200", None),
        ("2025-08-24T12:00:00+24:00", None),
        ("2025-08-24T12:00Z", None),
        ("2025-08-24", None),
        ("20250824T120000Z", None),
        ("2025-W34-7T12:00:00.000Z", None),
        ("2025-08-24T12:00:00,000Z", None),
        ("\u0662025-08-24T12:00:00.000Z", None),
        ("2025-08-24T12:00:00.000Z\n", None),
        ("", None),
    ],
)
def test_rfc_3339_times_are_converted_to_utc_milliseconds(text: str, expected: str | None) -> None:
    """No other format is accepted."""
    assert from_rfc3339(text) == expected
    assert instant(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 24 Aug 2025 12:00:00 +0000", NOON),
        ("Mon, 24 Aug 2025 12:00:00 +0000", NOON),  # it was a Sunday
        ("24 Aug 2025 12:00:00 +0000", NOON),
        ("sun, 24 AUG 2025 12:00 gmt", NOON),
        ("Sun, 24 Aug 2025 14:00:00 +0200", NOON),
        ("Sun, 24 Aug 2025 12:00:00 -0000", NOON),
        ("Sun, 24 Aug 2025 12:00:00 UT", NOON),
        ("Sun, 24 Aug 2025 08:00:00 EDT", NOON),
        ("Sun, 24 Aug 2025 04:00:00 PST", NOON),
        ("Fri, 1 Aug 2025 12:00:00 +0000", "2025-08-01T12:00:00.000Z"),
        ("Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00.000Z"),
        ("Sun, 24 Aug 2025 12:00:00", None),
        ("Sun, 24 Aug 2025 12:00:00 CET", None),
        ("Sun, 24 Aux 2025 12:00:00 +0000", None),
        ("Sun, 32 Aug 2025 12:00:00 +0000", None),
        ("Sun, 24 Aug 2025 25:00:00 +0000", None),
        ("Sun, 24 Aug 2025", None),
        ("Sun, 24 Aug 0000 12:00:00 +0000", None),
        ("soon", None),
        (None, None),
        ("Sun, " + " " * 100_000 + "x", None),
    ],
)
def test_rfc_2822_times_have_whole_seconds(text: str | None, expected: str | None) -> None:
    """Any weekday and all zones of the RFC are accepted."""
    assert instant(text) == expected


@pytest.mark.parametrize("value", [1735689600, 1735689600.5, True, [], {}, "yesterday", "2025-08-24T12:00:00", ""])
@pytest.mark.parametrize("name", ["timestamp", "requestDateCreated"])
def test_an_invalid_time_is_null_with_a_warning(name: str, value: object) -> None:
    """This includes numbers, whose unit is unknown."""
    made = row(with_payload(**{name: value}))
    assert made["warnings"] == ["odd-field"]
    assert made["requested_at"] == (None if name == "requestDateCreated" else "2026-11-23T09:15:42.000Z")


@pytest.mark.parametrize("value", [..., None, 7, "", "Sun, 24 Aug 2025 12:00:00 +0000", "2025-08-24T12:00:00"])
def test_the_time_of_the_envelope_must_be_rfc_3339(value: object) -> None:
    """CloudEvents allows no other format."""
    made = row(event(time=value))
    assert (made["event_time"], made["warnings"]) == (None, ["odd-time"])


def test_an_event_occurred_at_its_most_precise_time() -> None:
    """The order is timestamp, the envelope's time, requestDateCreated, arrival."""
    payload = {"timestamp": "2025-01-01T00:00:00.001Z", "requestDateCreated": "Wed, 1 Jan 2025 00:00:03 +0000"}
    changes = {"time": "2025-01-01T00:00:00.002Z"}
    told = []
    for lost in (None, "timestamp", "time", "requestDateCreated"):
        payload.pop(str(lost), None)
        changes.pop(str(lost), None)
        told.append(row(event(**{"time": ..., **changes, "data": {"sid": "CA1", **payload}}))["occurred_at"])
    assert [moment[17:] for moment in told] == ["00.001Z", "00.002Z", "03.000Z", "20.000Z"]


@given(st.datetimes(timezones=st.timezones()), st.integers(0, 9))
def test_times_that_python_writes_are_parsed(moment: datetime, digits: int) -> None:
    """This compares both formats with the standard library."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        return
    expected = utc.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    assert instant(expected) == expected
    assert instant(expected[:-1] + "123456789"[:digits] + "+00:00") == expected
    assert instant(format_datetime(utc)) == f"{expected[:19]}.000Z"


@given(st.text(max_size=70) | st.from_regex(r"[0-9TtZz:. +-]{0,40}", fullmatch=True))
def test_any_text_gives_a_time_or_none(text: str) -> None:
    """No text raises an error."""
    assert instant(text) is None or from_rfc3339(str(instant(text))) == instant(text)
