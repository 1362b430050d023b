"""Detect records that the stream trimmed before they were read. No response reports them.

A quiet shard loses nothing, although its checkpointed record is trimmed too. So compare the time up to which the shard
was read with the trim horizon: records that arrived in between may have been trimmed unread.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from consumer.errors import ConfigurationError, Retryable
from consumer.leases import Lease
from consumer.leases.lease import later
from consumer.pipeline.batching import Batch
from consumer.records import Fetched, PositionKind, Record, StreamSummary, rfc3339
from consumer.shard.context import ShardContext
from consumer.shard.held_lease import HeldLease

# Date headers, arrival times, distances from the tip and the time between two reads are exact to about this much.
MARGIN = timedelta(seconds=60)
# Seconds between two requests for the retention, which an operator may change at any time.
REFRESH_INTERVAL = 300.0


class Retention:
    """The retention of the stream: a task that requests it again every few minutes."""

    def __init__(self, summary: Callable[[], StreamSummary], seconds: float) -> None:
        self._summary = summary
        self.seconds = seconds
        self._begun = False

    def __call__(self) -> float:
        """Return the retention in seconds."""
        return self.seconds

    def step(self, now: float) -> float:
        if self._begun:
            with suppress(Retryable, ConfigurationError):  # the shard readers report the failure
                self.seconds = self._summary().retention
        self._begun = True
        return REFRESH_INTERVAL


@dataclass(frozen=True, slots=True)
class Span:
    """Records that arrived from `start` (None: unknown) to `end` may be lost."""

    start: datetime | None
    end: datetime

    @property
    def seconds(self) -> float:
        """Return the length, or 0 if `start` is unknown."""
        return (self.end - self.start).total_seconds() if self.start is not None else 0.0


def read_up_to(lease: Lease) -> datetime | None:
    """Return the time up to which a shard is read, according to its row; None: unknown, or nothing can be lost.

    For a shard that was never read, this is the time to start from or the creation of the stream, the later of both.
    For a child of a reshard it is unknown, because the child may be younger than both.
    """
    if lease.read_to is not None or lease.checkpoint.kind is PositionKind.SEQUENCE or lease.parents:
        return lease.read_to
    return max(filter(None, (lease.started_at, lease.stream_created_at))) if lease.started_at else None


def unread(lease: Lease, horizon: datetime) -> Span | None:
    """Return what may have been trimmed unread, according to the row. `horizon`: the trim horizon."""
    start = read_up_to(lease)
    return Span(start, horizon) if start is not None and start < horizon - MARGIN and not lease.ended else None


class TrimWatch:
    """Watch one shard for records that were trimmed unread, and for how long unread records are still kept."""

    def __init__(self, held_lease: HeldLease, context: ShardContext) -> None:
        self._held_lease, self._context = held_lease, context
        self._log = context.log.bind(shard=held_lease.shard_id)
        self.restart()

    def restart(self) -> None:
        """Start again at the checkpoint."""
        lease = self._held_lease.lease
        # All records that arrived before `_since` are fetched, or were never meant to be read.
        self._since = self._held_lease.read_to or read_up_to(lease)
        at = lease.checkpoint
        # The sequence number of the checkpointed record, which the first response has to repeat.
        self._checkpoint = at.sequence if at.kind is PositionKind.SEQUENCE else None

    def check(self, fetched: Fetched, read_to: datetime | None) -> None:
        """Check a response. `read_to`: the time up to which the shard is read, if the response does not tell."""
        horizon = self._context.horizon()
        if fetched.millis_behind is not None:
            read_to = self._context.server_time() - timedelta(milliseconds=fetched.millis_behind)
        first = fetched.records[0] if fetched.records else None
        suspect = self._since is not None and self._since < horizon - MARGIN
        if first is None and fetched.millis_behind and (suspect or self._checkpoint is not None):
            return  # responses may be empty far from the next record
        if not self._follows(first, horizon):
            if suspect:
                self._tell(Span(self._since, horizon))
                read_to = later(read_to, horizon)
            elif self._since is None:
                self._log.warning(
                    "checkpoint.trimmed",
                    note="records may be lost: the row does not say what was read",
                )
        self._checkpoint = None
        self._since = later(self._since, read_to)

    def gone(self) -> None:
        """Report that the stream no longer has the shard, so unread records of it are trimmed."""
        horizon = self._context.horizon()
        self._tell(Span(self._since, max(self._since or horizon, horizon)))

    def delivers(self, batch: Batch) -> None:
        """Note when the last record of a batch arrived, to be stored with its checkpoint."""
        now = self._context.server_time()
        arrived = min(datetime.fromtimestamp(batch.arrived_at, UTC), now) if batch.arrived_at > 0 else None
        outlived = arrived is not None and arrived < self._context.horizon() - MARGIN
        self._held_lease.delivering(arrived, outlived)

    def tell_expiry(self) -> None:
        """Count the seconds until the oldest record that may be unread is trimmed."""
        if self._held_lease.read_to is not None:
            left = (self._held_lease.read_to - self._context.horizon()).total_seconds()
            self._context.metrics.unread_expires(self._held_lease.shard_id, left)

    def _follows(self, first: Record | None, horizon: datetime) -> bool:
        """Return whether nothing was trimmed before this record. A record older than the retention shows it too."""
        began_anywhere = self._checkpoint is None and self._since is None
        if first is None:
            return began_anywhere
        if self._checkpoint is not None and first.sequence <= self._checkpoint:
            return True
        return began_anywhere or 0 < first.arrived_at < (horizon - MARGIN).timestamp()

    def _tell(self, span: Span) -> None:
        self._context.metrics.trimmed(span.seconds)
        self._held_lease.trimmed(span.start, span.end)
        self._log.error(
            "shard.trimmed",
            note="unread records that arrived in this time may be lost: they are older than the retention",
            since=rfc3339(span.start) if span.start is not None else None,
            until=rfc3339(span.end),
            seconds=round(span.seconds),
        )
