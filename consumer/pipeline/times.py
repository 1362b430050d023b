"""The date formats of one payload: RFC 3339 and RFC 2822, to RFC 3339 in UTC with milliseconds and `Z`."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def instant(value: Any) -> str | None:
    """The instant that a string names, in the row's form; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        if value[:1].isdigit():
            moment = datetime.fromisoformat(value)
            if _USUAL.fullmatch(value):
                return value
        else:
            moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            return None
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
