"""The filters of the `dead-letters` commands."""

from datetime import datetime
from typing import Annotated

import typer

from consumer.dead_letters.selection import Selection
from consumer.errors import ConfigurationError
from consumer.records import Reason
from consumer.setting_values import closest, start

REASONS = [reason.value for reason in Reason]
Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Ids of dead letters, or how they begin [default: all].", metavar="ID", show_default=False),
]
Reasons = Annotated[
    list[str] | None, typer.Option(help=f"Only this reason: {', '.join(REASONS)}. Repeatable.", metavar="REASON")
]
Shards = Annotated[list[str] | None, typer.Option(help="Only this shard. Repeatable.", metavar="SHARD")]
Since = Annotated[
    str | None,
    typer.Option(help="Only what arrived at Kinesis at or after a time, a date, or an age such as 2h.", metavar="TIME"),
]
Until = Annotated[str | None, typer.Option(help="Only what arrived at Kinesis before this time.", metavar="TIME")]


def selection(
    ids: list[str] | None, reasons: list[str] | None, shards: list[str] | None, since: str | None, until: str | None
) -> Selection:
    """Return the selection that the flags describe.

    Raises:
        ConfigurationError: a reason is unknown, or a time is none.
    """
    for reason in reasons or ():
        if reason not in REASONS:
            raise ConfigurationError(f"--reason {reason!r}: say one of {', '.join(REASONS)}{closest(reason, REASONS)}")
    return Selection(
        tuple(name.lower() for name in ids or ()),
        tuple(reasons or ()),
        tuple(shards or ()),
        since=_time("--since", since),
        until=_time("--until", until),
    )


def _time(named: str, text: str | None) -> datetime | None:
    """Return the time in a flag, which has the forms of `--from`."""
    if text is None:
        return None
    try:
        moment = start(text)
    except ValueError as error:
        raise ConfigurationError(f"{named} {text!r}: {error}") from None
    if not isinstance(moment, datetime):
        raise ConfigurationError(f"{named} {text!r}: say a time, a date such as 2026-11-25, or an age such as 2h or 1w")
    return moment
