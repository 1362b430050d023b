"""Parse times that services, proxies and emulators send."""

from datetime import UTC, datetime, timedelta

import pytest

from consumer.streams.times import UNKNOWN, epoch_seconds, server_time

NOVEMBER = datetime(2026, 11, 26, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        NOVEMBER.timestamp(),
        int(NOVEMBER.timestamp()),
        NOVEMBER.timestamp() * 1000,
        str(NOVEMBER.timestamp()),
        "2026-11-26T02:00:00Z",
        "2026-11-26T03:00:00+01:00",
        "2026-11-26 02:00:00",
    ],
)
def test_a_time_is_parsed_in_each_known_form(value: object) -> None:
    """Forms are seconds, milliseconds and ISO 8601. Without a zone it is UTC."""
    assert epoch_seconds(value) == NOVEMBER.timestamp()


@pytest.mark.parametrize(
    "value", [None, True, "", "now", "nan", "inf", -1, 0, 1e9, 1e30, 10**400, float("nan"), [], {}, "9" * 400]
)
def test_an_invalid_time_is_unknown(value: object) -> None:
    """It is no reason to stop reading."""
    assert epoch_seconds(value) == UNKNOWN


@pytest.mark.parametrize("header", ["Thu, 26 Nov 2026 02:00:00 GMT", "Thu, 26 Nov 2026 04:00:00 +0200"])
def test_a_date_header_is_the_time_of_the_service(header: str) -> None:
    """It is in UTC."""
    assert server_time(header) == NOVEMBER


@pytest.mark.parametrize(
    "header",
    [
        *[None, "", "now", "é", "0", "2026-11-26T02:00:00Z"],
        "Thu, 26 Nov 2026 02:00:00 -0000",
        "Thu, 26 Nov 1970 02:00:00 GMT",
        "Thu, 99 Nov 2026 99:00:00 GMT",
        "Thu, 26 Nov 99999 02:00:00 GMT",
    ],
)
def test_an_invalid_date_header_is_replaced_by_the_local_clock(header: str | None) -> None:
    """It may be missing, malformed, or without a zone."""
    assert abs(server_time(header) - datetime.now(UTC)) < timedelta(seconds=2)
