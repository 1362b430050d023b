"""Finds shards that have no row: at the start, when the rows leave a hole, and once an hour.

Children of a finished shard get their rows from whoever finished it, so listing the stream is seldom needed: an audit
looks at the rows alone. https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
"""

from consumer.engine.backoff import Backoff
from consumer.engine.holdings import Holdings
from consumer.engine.lineage import covered, tombstones
from consumer.errors import ConfigurationError, Retryable

# How long a listing is good for when the rows leave no hole, seconds.
LISTING_INTERVAL = 3600.0


class Discovery:
    """A task that lists the stream's shards, adds rows that are missing, and removes tombstones."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._backoff = Backoff(0.5, 30.0, holdings.world.rng)
        self._listed_at = float("-inf")

    def step(self, now: float) -> float:
        try:
            rows = self._holdings.table.scan()
            for shard_id, why in self._holdings.table.unreadable().items():
                self._holdings.log.error("lease.unreadable", shard=shard_id, error=why)
            if now - self._listed_at > LISTING_INTERVAL or not covered(rows):
                self._list()
                self._listed_at = now
        except Retryable as error:
            return self._later(error)
        except ConfigurationError as error:
            if not self._holdings.discovered:
                raise
            return self._later(error)  # it has worked before: an operator may mend it while we go on
        self._backoff.reset()
        return self._holdings.fleet.audit_interval * self._holdings.world.rng.uniform(0.7, 1.0)

    def _list(self) -> None:
        shards = self._holdings.world.stream.shards()
        rows = self._holdings.add_rows(shards)
        for row in tombstones(rows, {shard.shard_id for shard in shards}):
            self._holdings.table.delete(row)
        self._holdings.discovered = True

    def _later(self, error: Exception) -> float:
        self._holdings.log.warning("discovery.failed", error=str(error))
        return self._backoff.next()
