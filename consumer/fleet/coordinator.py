"""Run one worker's part of the fleet: create the tasks that decide which shards it reads, and end them in order.

There is no leader. Every worker decides from what it sees in the lease table. `Renewer` keeps its leases, `Balancer`
takes, requests and hands off leases, `ShardSync` creates rows for new shards. They run on lanes that no sink can block.
"""

from contextlib import suppress

from consumer.errors import LeaseLost, Retryable
from consumer.fleet.balancer import create_balancer
from consumer.fleet.drain import Drain
from consumer.fleet.renewer import Renewer
from consumer.fleet.running_shards import RunningShards
from consumer.fleet.shard_sync import ShardSync
from consumer.fleet.slow_deliveries import SlowDeliveries
from consumer.runtime.scheduler import Lane, Scheduler

MOST_OBSTACLES = 5


class Coordinator:
    """The tasks of one worker, from start to drain."""

    def __init__(self, running_shards: RunningShards, scheduler: Scheduler) -> None:
        self._running_shards, self._scheduler = running_shards, scheduler
        self._table, self._log = running_shards.table, running_shards.log
        self._renewer, self._balancer = Renewer(running_shards), create_balancer(running_shards)
        self._shard_sync = ShardSync(running_shards.fleet, self._table, running_shards.rows, running_shards.context)
        self._discarded: set[str] = set()

    def start(self) -> None:
        """Add the tasks to the scheduler."""
        self._scheduler.add(self._shard_sync, Lane.COORDINATOR)
        self._scheduler.add(self._renewer, Lane.RENEWALS)
        self._scheduler.add(self._balancer, Lane.COORDINATOR)
        self._scheduler.add(SlowDeliveries(self._running_shards), Lane.RENEWALS)

    @property
    def leases(self) -> int:
        """Return the number of shards that this process reads."""
        return len(self._running_shards.running)

    @property
    def takes_part(self) -> bool:
        """Return whether this worker has scanned the lease table and acted on it at least once."""
        return self._running_shards.takes_part

    @property
    def draining(self) -> bool:
        """Return whether this worker is draining, so it takes no more leases."""
        return self._running_shards.draining

    @property
    def caught_up(self) -> bool:
        """Return whether every shard of the stream has been read up to the end of the run."""
        return self._balancer.caught_up

    @property
    def finished(self) -> bool:
        """Return whether every shard is delivered and handed off, including takes that the drain interrupted."""
        return not self._running_shards.taking.locked() and all(c.over for c in self._running_shards.running.values())

    @property
    def obstacles(self) -> list[str]:
        """Return why shards are not handed off yet, at most `MOST_OBSTACLES` of them."""
        waiting = [consumer for consumer in self._running_shards.running.values() if not consumer.over]
        return [f"{consumer.shard_id}: {consumer.obstacle}" for consumer in waiting[:MOST_OBSTACLES]]

    @property
    def undelivered(self) -> list[str]:
        """Return the shards that the drain left with fetched but undelivered records, although it held their leases."""
        return self._running_shards.undelivered()

    def drain(self, patience: float = float("inf"), until: float = float("inf")) -> float:
        """Take no more leases; deliver, checkpoint, and hand every lease to a live peer, or release it.

        Return the seconds, at most `patience`, for which shards are still read while the next owners prepare. What is
        undelivered at `until`, by the worker's clock, is left to them.
        """
        self._running_shards.draining = True
        drain_task = Drain(self._running_shards, self._balancer.next_owners)
        reads_on = drain_task.announce(min(patience, self._balancer.notice), until)
        self._scheduler.wake(self._renewer)
        self._scheduler.add(drain_task, Lane.COORDINATOR)
        self._scheduler.wake(self._balancer)
        return reads_on

    def discard(self, reason: str) -> None:
        """Release every lease without delivering, for `reason`. Call it repeatedly: a take may still complete."""
        self._running_shards.draining = True
        for shard_id, consumer in self._running_shards.running.items():
            if shard_id not in self._discarded:
                self._discarded.add(shard_id)
                consumer.discard(reason)
                self._scheduler.wake(consumer)

    def cancel_reads(self) -> None:
        """Release the shards whose read is still running."""
        for consumer in self._running_shards.running.values():
            with suppress(Retryable, LeaseLost):
                consumer.cancel_read()

    def decline_offers(self) -> bool:
        """Decline pending offers so that their senders do not wait; return False if the lease table failed."""
        try:
            rows = self._table.read([row.shard_id for row in self._table.scan()])
            self._table.write(self._balancer.incoming.declines(rows))
        except Retryable as error:
            self._log.warning("decline_offers.failed", error=str(error))
            return False
        return True
