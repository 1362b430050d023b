"""Finds shards that have no row: at the start, when the rows leave a hole, and once an hour.

Children of a finished shard get their rows from whoever finished it, so listing the stream is seldom needed: an audit
looks at the rows alone. https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html

Nothing is concluded from a listing that lacks shards: a child that is read before its parent is known would make the
parent look finished, and its records would be lost. Such a listing is made again within seconds.
"""

from collections.abc import Sequence

from consumer.errors import ConfigurationError, IncompleteResponse, Retryable, StreamAbsent
from consumer.fleet.lineage import tombstones, unfinished
from consumer.fleet.running_shards import LOOK_AGAIN, RunningShards
from consumer.leases import Lease
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.shard.deleted_stream import Absence
from consumer.shard.listing import complete

# How long a listing is good for when the rows leave no hole, seconds.
LISTING_INTERVAL = 3600.0
# A failed listing delays the first read of new shards, so it is retried within seconds.
RETRIES = RetryPolicy(first=0.5, most=5.0)


class ShardSync:
    """A task that lists the stream's shards, adds rows that are missing, and removes tombstones."""

    def __init__(self, running_shards: RunningShards) -> None:
        self._running_shards = running_shards
        self._backoff = Backoff(RETRIES, running_shards.context.rng)
        self._absence = Absence()
        self._listed_at = float("-inf")
        self._told: dict[str, str] = {}
        self._told_at = float("-inf")

    def step(self, now: float) -> float:
        try:
            rows = self._running_shards.table.scan()
            self._tell_unreadable(now)
            if now - self._listed_at > LISTING_INTERVAL or not self._running_shards.every_shard_has_a_row(rows):
                if not self._list():
                    return LOOK_AGAIN
                self._listed_at = now
        except Retryable as error:
            return self._later(error)
        except ConfigurationError as error:
            if not self._running_shards.discovered:
                raise
            if isinstance(error, StreamAbsent):
                self._absence.confirm(f"the stream was deleted: {error}", now)
            return self._later(error)  # it has worked before: an operator may mend it while we go on
        self._backoff.reset()
        self._running_shards.context.outages.worked("discovery")
        self._absence.over()
        return self._interval() * self._running_shards.context.rng.uniform(0.7, 1.0)

    def _tell_unreadable(self, now: float) -> None:
        """Name the damaged rows once per audit interval, and at once when there is another one."""
        unreadable = dict(self._running_shards.table.unreadable())
        if unreadable == self._told and now - self._told_at < 0.7 * self._running_shards.fleet.audit_interval:
            return
        self._told, self._told_at = unreadable, now
        for shard_id, why in unreadable.items():
            self._running_shards.log.error("lease.unreadable", shard=shard_id, error=why)

    def _interval(self) -> float:
        """A run that ends when it has caught up waits for the last listing."""
        fleet = self._running_shards.fleet
        return fleet.audit_interval if fleet.until is None else min(LOOK_AGAIN, fleet.audit_interval)

    def _list(self) -> bool:
        """List the stream and act on it; False when another listing has to agree first.

        Raises:
            IncompleteResponse: the listing lacks shards.
        """
        shards = self._running_shards.context.stream.shards()
        if not complete(shards):
            raise IncompleteResponse(
                f"ListShards: {len(shards)} shards, which do not cover all hash keys; looking again"
            )
        if not self._running_shards.believes(shards):
            return False
        rows = self._running_shards.add_rows(shards)
        for row in tombstones(rows, {shard.shard_id for shard in shards}):
            self._running_shards.table.delete(row)
        self._note(rows)
        return True

    def _note(self, rows: Sequence[Lease]) -> None:
        self._running_shards.discovered = True
        self._running_shards.listed_beside = unfinished(rows)

    def _later(self, error: Exception) -> float:
        self._running_shards.context.outages.failed("discovery.failed", "discovery", error)
        return self._backoff.next()
