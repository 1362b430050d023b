"""Decide where a shard without a checkpoint starts. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from consumer.leases import Lease
from consumer.records import LATEST, TRIM_HORIZON, Position, PositionKind, Shard, StreamSummary

# LATEST starts this much before the first start, because the Date header is rounded and clocks differ.
LATEST_MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class InitialPosition:
    """The position of new rows: TRIM_HORIZON or LATEST as the row says it, and the instant to start from, if any.

    The instant is that of the application's first start. So a shard found later starts where the first ones did, and a
    crash before the first checkpoint skips no record (docs/guarantees.md#latest-is-an-instant).
    """

    position: Position = TRIM_HORIZON
    at: datetime | None = None
    stream_created_at: datetime | None = None

    @classmethod
    def chosen(cls, start: Literal["trim-horizon", "latest"] | datetime, summary: StreamSummary) -> "InitialPosition":
        """Return the position that the setting `--from` names, for a stream with this summary."""
        if start == "latest":
            return cls(LATEST, summary.server_time - LATEST_MARGIN, summary.created_at)
        return cls(TRIM_HORIZON, start if isinstance(start, datetime) else None, summary.created_at)

    def following(self, rows: Iterable[Lease]) -> "InitialPosition":
        """Return the position for new rows: from the earliest instant in the existing `rows`, or this one without any.

        If a KCL made some of the rows, the instant of its first start is unknown, so the result is TRIM_HORIZON.
        """
        rows = list(rows)
        if not rows:
            return self
        instants = [row.started_at for row in rows if row.started_at is not None]
        if len(instants) < len(rows):
            return InitialPosition(TRIM_HORIZON, None, self.stream_created_at)
        latest = any(row.checkpoint == LATEST for row in rows) or self.position.kind is PositionKind.LATEST
        return InitialPosition(LATEST if latest else TRIM_HORIZON, min(instants), self.stream_created_at)

    def lease(self, shard: Shard) -> Lease:
        """Return the first row of a shard."""
        return Lease(
            shard.shard_id,
            self.position,
            shard.parents,
            hash_range=shard.hash_range,
            started_at=self.at,
            stream_created_at=self.stream_created_at,
        )


def first_read(start: Literal["trim-horizon", "latest"] | datetime) -> Position:
    """Return the position of the very first read of a shard under the setting `--from`."""
    if isinstance(start, datetime):
        return Position.at_timestamp(start)
    return LATEST if start == "latest" else TRIM_HORIZON
