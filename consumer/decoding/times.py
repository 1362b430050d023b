"""Convert the two time formats of a payload, RFC 3339 and RFC 2822, to RFC 3339 in UTC with milliseconds and `Z`."""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache

LONGEST = 64  # characters; no valid time is longer, and the caches stay small
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_USUAL_SECOND = re.compile(rf"\d{{4}}-\d\d-\d\dT{_CLOCK}", re.ASCII)
_USUAL_ENDS = frozenset(f".{number:03d}Z" for number in range(1000))
_USUAL_RFC_2822 = re.compile(rf"[A-Z][a-z]{{2}}, (\d\d [A-Z][a-z]{{2}} \d{{4}}) ({_CLOCK}) \+0000", re.ASCII)
_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
_RFC_2822 = re.compile(
    r"\s*(?:[a-z]+\s*,)?\s*(\d{1,2})\s+([a-z]{3})\s+(\d{4})\s+(\d\d):(\d\d)(?::(\d\d))?"
    r"\s+(?:([+-])([01]\d|2[0-3])([0-5]\d)|([a-z]+))\s*",
    re.ASCII | re.IGNORECASE,
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
# Hours from UTC of the zone names in RFC 2822 §4.3. Other names are ambiguous.
_ZONES = {"ut": 0, "utc": 0, "gmt": 0, "z": 0, "edt": -4, "est": -5, "cdt": -5, "cst": -6}
_ZONES |= {"mdt": -6, "mst": -7, "pdt": -7, "pst": -8}


def instant(text: str | None) -> str | None:
    """Return the time of either format in the row's format. Return None for other text or a time without a zone."""
    if text is None or len(text) > LONGEST:
        return None
    return from_rfc3339(text) if text[4:5] == "-" else from_rfc2822(text)


def is_usual(text: str) -> bool:
    """Return whether a time is in the row's format already, as Twilio's RFC 3339 times are."""
    return text[19:] in _USUAL_ENDS and _is_usual_second(text[:19])


@lru_cache(maxsize=256)  # the two times of an event are usually in the same second
def _is_usual_second(text: str) -> bool:
    try:
        return bool(_USUAL_SECOND.fullmatch(text) and date.fromisoformat(text[:10]))
    except ValueError:
        return False


def from_rfc3339(text: str) -> str | None:
    """Return an RFC 3339 time in the row's format, or None if it is invalid or not in years 1 to 9999.

    Digits beyond milliseconds are cut off.
    """
    if is_usual(text):
        return text
    found = _RFC_3339.fullmatch(text)
    if found is None:
        return None
    *clock, fraction, sign, hours, minutes = found.groups()
    return _in_utc(clock, f"{fraction or ''}000"[:3], _offset(sign, hours, minutes))


@lru_cache(maxsize=256)  # the two times of an event, and those of the next event, are usually equal
def from_rfc2822(text: str) -> str | None:
    """Return an RFC 2822 time in the row's format, or None. Ignore the weekday; take `-0000` as UTC."""
    if (usual := _USUAL_RFC_2822.fullmatch(text)) and (day := _day(usual[1])):
        return f"{day}T{usual[2]}.000Z"
    return _any_rfc2822(text)


def _any_rfc2822(text: str) -> str | None:
    found = _RFC_2822.fullmatch(text)
    if found is None:
        return None
    day, name, year, hour, minute, second, sign, hours, minutes, zone = found.groups()
    if name.lower() not in _MONTHS or (zone and zone.lower() not in _ZONES):
        return None
    offset = timedelta(hours=_ZONES[zone.lower()]) if zone else _offset(sign, hours, minutes)
    month = _MONTHS.index(name.lower()) + 1
    return _in_utc((year, month, day, hour, minute, second or 0), "000", offset)


@lru_cache(maxsize=64)
def _day(text: str) -> str | None:
    """Return an RFC 2822 day as YYYY-MM-DD, or None if it is no date."""
    midnight = _any_rfc2822(f"{text} 00:00 +0000")
    return midnight and midnight[:10]


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> timedelta:
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return -offset if sign == "-" else offset


def _in_utc(clock: Iterable[str | int], milliseconds: str, offset: timedelta) -> str | None:
    """Return the time in the row's format. Like POSIX, count a leap second as the second after it."""
    year, month, day, hour, minute, second = map(int, clock)
    leap = second == 60
    try:
        moment = datetime(year, month, day, hour, minute, second - leap) - offset + timedelta(seconds=leap)  # noqa: DTZ001
    except (ValueError, OverflowError):
        return None
    return f"{moment.isoformat(timespec='seconds')}.{milliseconds}Z"
