"""Reads the times that services, emulators and proxies send: none of them is worth a halt, so an odd one is unknown."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Kinesis began in December 2013. A number outside this span is no time in seconds.
EARLIEST = datetime(2013, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
UNKNOWN = 0.0


def epoch_seconds(value: object) -> float:
    """Return epoch seconds of a time in seconds, milliseconds or ISO 8601; `UNKNOWN` for anything else."""
    if type(value) is float and EARLIEST <= value < LATEST:  # as Kinesis sends it, for each record
        return value
    try:
        number = _number(value)
    except (ValueError, OverflowError):
        return UNKNOWN
    if EARLIEST <= number / 1000 < LATEST:  # LocalStack has sent milliseconds
        number /= 1000
    return number if EARLIEST <= number < LATEST else UNKNOWN


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def server_time(header: str | None) -> datetime:
    """Return what a Date header says, or this machine's time when it is missing, odd or without a zone."""
    try:
        moment = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None or not EARLIEST <= moment.timestamp() < LATEST:
        return datetime.now(UTC).replace(microsecond=0)
    return moment.astimezone(UTC)
