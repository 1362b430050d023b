"""Show how much of the time that a replay covers is read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from consumer.errors import Retryable
from consumer.leases import Lease
from consumer.replay.bounds import Bounds

# Called with the share of the time that is read, the rows written so far, and the rows per second.
Show = Callable[[float, int, float], None]
DRAWN, LOGGED = 0.5, 10.0  # seconds between two updates of the bar, and between two lines
SCANNED = 5.0  # seconds between two scans of the lease table at least, because each costs money on DynamoDB
SMOOTHED = 0.3  # share of the newest interval in the shown rate


def covered(rows: Sequence[Lease], bounds: Bounds, oldest: datetime) -> float:
    """Return the share of the time that is read, from 0 to 1: the mean of the shards that are read now.

    `oldest`: when the oldest record may have arrived. A child that has read nothing continues where its parents were.
    """
    known = {row.shard_id: row for row in rows if not bounds.shards or row.shard_id in bounds.shards}
    unfinished = [row for row in known.values() if not row.ended and not any(_open(known, p) for p in row.parents)]
    if not unfinished:
        return 1.0 if known else 0.0
    begin = max(bounds.start, oldest) if isinstance(bounds.start, datetime) else oldest
    whole = max(1.0, (bounds.end - begin).total_seconds())
    return sum(_share(row, known, begin, whole) for row in unfinished) / len(unfinished)


def _open(rows: Mapping[str, Lease], shard_id: str) -> bool:
    return shard_id in rows and not rows[shard_id].ended


def _share(row: Lease, rows: Mapping[str, Lease], begin: datetime, whole: float) -> float:
    reached = row.read_to or _reached(rows, row.parents) or begin
    return min(1.0, max(0.0, (reached - begin).total_seconds() / whole))


def _reached(rows: Mapping[str, Lease], parents: Collection[str]) -> datetime | None:
    times = [rows[parent].read_to for parent in parents if parent in rows]
    return max(filter(None, times), default=None)


@dataclass
class Progress:
    """A task that calls `show`. `scan` returns the replay's lease rows, `written` the rows written so far."""

    scan: Callable[[], Sequence[Lease]]
    written: Callable[[], int]
    bounds: Bounds
    oldest: datetime
    show: Show
    interval: float = LOGGED
    share: float = 0.0
    _scanned_at: float = float("-inf")
    _rate: float | None = None
    _last: tuple[float, int] | None = field(default=None)

    def step(self, now: float) -> float:
        if now - self._scanned_at >= SCANNED:
            self._scanned_at = now
            with suppress(Retryable):  # reported by the tasks that need the table
                self.share = max(self.share, covered(self.scan(), self.bounds, self.oldest))
        rows = self.written()
        self.show(self.share, rows, self._rows_per_second(now, rows))
        return self.interval

    def _rows_per_second(self, now: float, rows: int) -> float:
        if self._last is not None and now > self._last[0]:
            newest = (rows - self._last[1]) / (now - self._last[0])
            self._rate = newest if self._rate is None else SMOOTHED * newest + (1 - SMOOTHED) * self._rate
        self._last = now, rows
        return self._rate or 0.0
