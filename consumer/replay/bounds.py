"""Say which part of a stream is read again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from consumer.errors import ConfigurationError
from consumer.records import rfc3339
from consumer.setting_values import start

Start = Literal["trim-horizon"] | datetime


@dataclass(frozen=True, slots=True)
class Bounds:
    """Records that arrived from `start` up to but not including `end`. `shards`: only these; empty: all.

    `only`: the filters as they were given, see `selection`.
    """

    start: Start
    end: datetime
    shards: Sequence[str] = ()
    only: Sequence[str] = ()

    @property
    def suffix(self) -> str:
        """Return what distinguishes the checkpoints of this replay. Equal bounds give the same, so it can continue."""
        name = f"replay-{_compact(self.start)}-{_compact(self.end)}"
        parts = [*sorted(self.shards), "", *sorted(self.only)]
        return f"{name}-{digest(' '.join(parts))}" if len(parts) > 1 else name

    @property
    def arguments(self) -> str:
        """Return the flags that name the same bounds again."""
        return f"--from {_exact(self.start)} --to {_exact(self.end)}"


def bounds_of(first: str | None, last: str | None, shards: Sequence[str], only: Sequence[str]) -> Bounds:
    """Return the bounds that `--from` and `--to` name; without `--to` they end now.

    Raises:
        ConfigurationError: a time is missing or wrong, or the end is not after the start.
    """
    if first is None:
        raise ConfigurationError("--from: say where to begin: trim-horizon, a time, a date, or an age such as 2h")
    begin = _parsed("--from", first)
    end = _parsed("--to", last) if last is not None else datetime.now(UTC).replace(microsecond=0)
    if not isinstance(end, datetime):
        raise ConfigurationError(f"--to {last}: say a time, a date, or an age such as 2h; without --to it ends now")
    if isinstance(begin, datetime) and begin >= end:
        raise ConfigurationError(f"--to {rfc3339(end)} is not after --from {rfc3339(begin)}: name a later time")
    return Bounds(begin, end, tuple(shards), tuple(only))


def _parsed(flag: str, text: str) -> Start:
    try:
        value = start(text)
    except ValueError as error:
        raise ConfigurationError(f"{flag} {text[:60]!r}: {error}") from None
    if value == "latest":
        raise ConfigurationError(f"{flag} latest: a replay has nothing to read there: say a time or trim-horizon")
    if not isinstance(value, datetime):
        return "trim-horizon"
    return value if value.microsecond and "." in text else value.replace(microsecond=0)  # an age has odd microseconds


def _compact(moment: Start) -> str:
    """Return a time in characters that the name of a DynamoDB table may have."""
    if not isinstance(moment, datetime):
        return moment
    moment = moment.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}{f'.{moment.microsecond:06}' if moment.microsecond else ''}Z"


def _exact(moment: Start) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(moment, datetime) else moment


def digest(text: str) -> str:
    """Return six hexadecimal digits. So few do not identify a phone number among the filters."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]
