"""Find shards without a lease row: at the start, when the rows leave a hole, and once an hour.

The worker that ends a shard creates the rows of its children. So the stream is listed rarely
(https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html), and the audit in between only scans the
lease table.

A listing that lacks shards proves nothing: a child that is read before its parent is known would make the parent look
finished, and its records would be lost. Such a listing is repeated within seconds.
"""

from consumer.errors import ConfigurationError, IncompleteResponse, Retryable, StreamAbsent
from consumer.fleet.lineage import tombstones
from consumer.fleet.running_shards import Fleet
from consumer.fleet.shard_rows import CONFIRM_AFTER, ShardRows
from consumer.leases import LeaseTable
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.shard.context import ShardContext
from consumer.shard.deleted_stream import Absence
from consumer.shard.listing import complete

# Seconds after which the stream is listed again although the rows leave no hole.
LISTING_INTERVAL = 3600.0
# A failed listing delays the first read of new shards, so it is retried within seconds.
RETRIES = RetryPolicy(first=0.5, most=5.0)
# Least share of the audit interval between two audits. Chance decides, so that workers audit at different times.
EARLIEST = 0.7


class ShardSync:
    """A task that lists the stream's shards, adds missing rows, and removes rows of ended shards."""

    def __init__(self, fleet: Fleet, table: LeaseTable, rows: ShardRows, context: ShardContext) -> None:
        self._fleet, self._table, self._rows = fleet, table, rows
        self._stream, self._rng, self._outages = context.stream, context.rng, context.outages
        self._backoff = Backoff(RETRIES, context.rng)
        self._absence = Absence()
        self._listed_at = float("-inf")

    def step(self, now: float) -> float:
        try:
            rows = self._table.scan()
            if now - self._listed_at > LISTING_INTERVAL or not self._rows.has_every_shard(rows):
                if not self._list():
                    return CONFIRM_AFTER
                self._listed_at = now
        except Retryable as error:
            return self._retry(error)
        except ConfigurationError as error:
            if not self._rows.discovered:
                raise
            if isinstance(error, StreamAbsent):
                self._absence.confirm(f"the stream was deleted: {error}", now)
            return self._retry(error)  # it worked before, so an operator may repair it while this worker runs
        self._backoff.reset()
        self._outages.worked("discovery")
        self._absence.over()
        return self._interval() * self._rng.uniform(EARLIEST, 1.0)

    def _interval(self) -> float:
        """Return the seconds between audits. Audit often with --until-caught-up, which needs a last listing to end."""
        interval = self._fleet.audit_interval
        return interval if self._fleet.until is None else min(CONFIRM_AFTER, interval)

    def _list(self) -> bool:
        """List the stream, and add and remove rows; return False if another listing must confirm it first.

        Raises:
            IncompleteResponse: the listing lacks shards.
        """
        shards = self._stream.shards()
        if not complete(shards):
            raise IncompleteResponse(
                f"ListShards: {len(shards)} shards, which do not cover all hash keys; looking again"
            )
        if not self._rows.trusts(shards):
            return False
        rows = self._rows.add(shards)
        for row in tombstones(rows, {shard.shard_id for shard in shards}):
            self._table.delete(row)
        self._rows.confirm(rows)
        return True

    def _retry(self, error: Exception) -> float:
        self._outages.failed("discovery.failed", "discovery", error)
        return self._backoff.next()
