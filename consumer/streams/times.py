"""Parse the times that services, emulators and proxies send. A malformed time is unknown, never an error."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from consumer.records import EARLIEST, LATEST_TIME

UNKNOWN = 0.0


def epoch_seconds(value: object) -> float:
    """Return a time in seconds, milliseconds or ISO 8601 as epoch seconds; `UNKNOWN` for any other value."""
    if type(value) is float and EARLIEST <= value < LATEST_TIME:
        return value
    try:
        number = _number(value)
    except (ValueError, OverflowError):
        return UNKNOWN
    if EARLIEST <= number / 1000 < LATEST_TIME:  # LocalStack has sent milliseconds
        number /= 1000
    return number if EARLIEST <= number < LATEST_TIME else UNKNOWN


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def server_time(header: str | None) -> datetime:
    """Return the time of a Date header, or this machine's time if the header is missing or malformed."""
    try:
        moment = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None or not EARLIEST <= moment.timestamp() < LATEST_TIME:
        return datetime.now(UTC).replace(microsecond=0)
    return moment.astimezone(UTC)
