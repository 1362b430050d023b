"""Decide whether a run with --until-caught-up may end, and log what it waits for."""

from collections.abc import Hashable, Iterator, Sequence
from datetime import datetime, timedelta

from consumer.fleet.lineage import runnable
from consumer.fleet.running_shards import RunningShards
from consumer.leases import Lease
from consumer.records import rfc3339
from consumer.shard.consumer import ShardConsumer

# Date headers are rounded down to whole seconds, so another worker's `read_to` may be a second too early.
DATE_RESOLUTION = timedelta(seconds=1)
# Seconds until the first line about what the run waits for. Each next one comes after twice the time, up to the most.
FIRST_LINE, MOST_BETWEEN_LINES = 10.0, 600.0
MOST_REASONS = 5
# Seconds without progress until a shard that is read here is one of the reasons.
NO_PROGRESS = 20.0


class CaughtUp:
    """Judge each scan of the lease table."""

    def __init__(self, running_shards: RunningShards) -> None:
        self._running_shards, self._fleet = running_shards, running_shards.fleet
        self._table, self._log = running_shards.table, running_shards.log
        self._between = FIRST_LINE
        self._log_at: float | None = None
        self._progress: dict[str, tuple[Hashable, float]] = {}  # by shard: the last progress, and its time

    def judge(self, rows: Sequence[Lease], now: float) -> bool:
        """Return whether every shard of the stream is delivered up to `until`, by any worker. Log what is missing."""
        until = self._fleet.until
        if until is None:
            return False
        behind = [row for row in rows if not row.ended and not self._read_to(row, until)]
        waits_for = [*self._obstacles(rows), *filter(None, (self._reason(row, rows, now) for row in behind))]
        self._tell(len(behind), waits_for, now)
        return not behind and not waits_for

    def _read_to(self, row: Lease, until: datetime) -> bool:
        consumer = self._running_shards.running.get(row.shard_id)
        if consumer is not None and not consumer.held_lease.lost:
            return consumer.held_lease.read_to is not None and consumer.held_lease.read_to >= until
        return row.read_to is not None and row.read_to >= until + DATE_RESOLUTION

    def _obstacles(self, rows: Sequence[Lease]) -> Iterator[str]:
        """Yield the reasons why some shard may be unknown."""
        for shard_id, why in self._table.unreadable().items():
            yield f"{shard_id}: its row in the lease table is damaged: {why}"
        if not rows or not self._running_shards.rows.discovered:
            yield "the stream has not been listed yet"
        elif not self._running_shards.rows.has_every_shard(rows):
            yield "not every shard of the stream has a row in the lease table yet"

    def _reason(self, row: Lease, rows: Sequence[Lease], now: float) -> str:
        """Return why a shard is not read to the end, or "" if it makes progress here or waits for its parents."""
        consumer = self._running_shards.running.get(row.shard_id)
        if consumer is not None and not consumer.held_lease.lost:
            return self._stalled(consumer, now)
        if row.owner is not None and row.owner != self._fleet.me.worker_id:
            read_to = f"has read up to {rfc3339(row.read_to)}" if row.read_to else "has read nothing yet"
            return f"{row.shard_id}: held by worker {row.owner}, which {read_to}"
        if row not in runnable(rows):
            return ""
        if len(self._running_shards.running) >= self._fleet.most_leases:
            return f"{row.shard_id}: no worker reads it, and --max-leases is {self._fleet.most_leases} here"
        return f"{row.shard_id}: no worker reads it yet"

    def _stalled(self, consumer: ShardConsumer, now: float) -> str:
        """Return why a shard that is read here makes no progress, or "" if it does."""
        before, since = self._progress.get(consumer.shard_id, (None, now))
        if (progress := consumer.progress) != before:
            since = now
        self._progress[consumer.shard_id] = progress, since
        if consumer.failures.text or now - since >= NO_PROGRESS:
            return f"{consumer.shard_id}: {consumer.obstacle}"
        return ""

    def _tell(self, behind: int, waits_for: Sequence[str], now: float) -> None:
        if not waits_for:
            self._log_at, self._between = None, FIRST_LINE
        elif self._log_at is None:
            self._log_at = now + self._between
        elif now >= self._log_at:
            shown = list(waits_for[:MOST_REASONS])
            more = len(waits_for) - len(shown)
            self._log.warning("caught_up.waiting", shards=behind, waits_for=shown, more=more)
            self._between = min(2 * self._between, MOST_BETWEEN_LINES)
            self._log_at = now + self._between
