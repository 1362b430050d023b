"""Notices records that the stream trimmed before they were read: no response tells of them.

A quiet shard loses nothing, although its checkpointed record is trimmed too. What counts is up to when the shard was
read: whatever arrived later, and before the retention began, may have been trimmed unread.
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

# How exact all this is: Date headers, incoming, distances from the tip, and the time between two reads.
MARGIN = timedelta(seconds=60)
# Seconds between two looks at the retention: an operator may change it at any time.
REFRESH = 300.0


class Retention:
    """Knows how long the stream keeps records: a task that asks now and then."""

    def __init__(self, summary: Callable[[], StreamSummary], seconds: float) -> None:
        self._summary = summary
        self.seconds = seconds
        self._begun = False

    def __call__(self) -> float:
        """Return the retention in seconds."""
        return self.seconds

    def step(self, now: float) -> float:
        if self._begun:
            with suppress(Retryable, ConfigurationError):  # the readers of the shards say what is wrong
                self.seconds = self._summary().retention
        self._begun = True
        return REFRESH


@dataclass(frozen=True, slots=True)
class Span:
    """What arrived from `start` (None: unknown) to `end` may be lost."""

    start: datetime | None
    end: datetime

    @property
    def seconds(self) -> float:
        """Return how long it is; 0 if nobody knows."""
        return (self.end - self.start).total_seconds() if self.start is not None else 0.0


def read_up_to(lease: Lease) -> datetime | None:
    """Return the instant up to which the row says that all is read; None: unknown, or nothing is left to lose.

    A shard that was never read is to be read from an instant on, or from the beginning of the stream. One that came of
    a reshard may be younger than that instant.
    """
    if lease.read_to is not None or lease.checkpoint.kind is PositionKind.SEQUENCE or lease.parents:
        return lease.read_to
    return max(filter(None, (lease.started_at, lease.stream_created_at))) if lease.started_at else None


def unread(lease: Lease, horizon: datetime) -> Span | None:
    """Return what may have been trimmed unread, as far as the row tells. `horizon`: where the retention begins."""
    start = read_up_to(lease)
    return Span(start, horizon) if start is not None and start < horizon - MARGIN and not lease.ended else None


class TrimWatch:
    """Watches the reading of one shard for records that were trimmed unread, and how long the next ones are kept."""

    def __init__(self, held_lease: HeldLease, context: ShardContext) -> None:
        self._held_lease, self._context = held_lease, context
        self._log = context.log.bind(shard=held_lease.shard_id)
        self.restart()

    def restart(self) -> None:
        """Liveness a reading that begins at the checkpoint."""
        lease = self._held_lease.lease
        # All that arrived before `_since` is fetched, or was never asked for.
        self._since = self._held_lease.read_to or read_up_to(lease)
        at = lease.checkpoint
        self._checkpoint = (
            at.sequence if at.kind is PositionKind.SEQUENCE else None
        )  # of a record that has to come again

    def answered(self, fetched: Fetched, read_to: datetime | None) -> None:
        """Take in a response. All that arrived before `read_to` is fetched, should the response itself not say it."""
        horizon = self._context.horizon()
        if fetched.millis_behind is not None:
            read_to = self._context.server_time() - timedelta(milliseconds=fetched.millis_behind)
        first = fetched.records[0] if fetched.records else None
        suspect = self._since is not None and self._since < horizon - MARGIN
        if first is None and fetched.millis_behind and (suspect or self._checkpoint is not None):
            return  # it may be empty long before the next record
        if not self._follows(first, horizon):
            if suspect:
                self._tell(Span(self._since, horizon))
                read_to = later(read_to, horizon)
            elif self._since is None:
                self._log.warning("checkpoint.trimmed", note="the row does not tell when it was read: is any lost?")
        self._checkpoint = None
        self._since = later(self._since, read_to)

    def gone(self) -> None:
        """The stream does not list the shard any more, and what was not read of it is trimmed."""
        horizon = self._context.horizon()
        self._tell(Span(self._since, max(self._since or horizon, horizon)))

    def delivers(self, batch: Batch) -> None:
        """Let the row say with the next checkpoint when the last record of the batch arrived."""
        now = self._context.server_time()
        arrived = min(datetime.fromtimestamp(batch.arrived_at, UTC), now) if batch.arrived_at > 0 else None
        outlived = arrived is not None and arrived < self._context.horizon() - MARGIN
        self._held_lease.delivering(arrived, outlived)

    def tell_expiry(self) -> None:
        """Tell how long it takes until the oldest record that may be unread is trimmed."""
        if self._held_lease.read_to is not None:
            left = (self._held_lease.read_to - self._context.horizon()).total_seconds()
            self._context.metrics.unread_expires(self._held_lease.shard_id, left)

    def _follows(self, first: Record | None, horizon: datetime) -> bool:
        """Is nothing trimmed before this record? A record that is older than the retention shows it, too."""
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
            note="what arrived in this time and was not read may be lost: it is older than the retention",
            since=rfc3339(span.start) if span.start is not None else None,
            until=rfc3339(span.end),
            seconds=round(span.seconds),
        )
