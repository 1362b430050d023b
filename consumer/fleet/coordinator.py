"""One worker's part in the fleet, put together: the tasks that decide which shards it reads, and how it leaves.

No leader: every worker does the same with what it sees in the lease table. `Renewer` keeps what it has, `Balancer`
takes, asks and hands over, `ShardSync` makes rows for new shards; each on a lane where no hanging sink can hold it up.
"""

from contextlib import suppress

from consumer.errors import LeaseLost, Retryable
from consumer.fleet.balancer import Balancer
from consumer.fleet.drain import Drain
from consumer.fleet.renewer import Renewer
from consumer.fleet.running_shards import RunningShards
from consumer.fleet.shard_sync import ShardSync
from consumer.runtime.scheduler import Lane, Scheduler


class Coordinator:
    """Starts the tasks, and ends their work."""

    def __init__(self, running_shards: RunningShards, scheduler: Scheduler) -> None:
        self._running_shards, self._scheduler = running_shards, scheduler
        self._renewals, self._balance = Renewer(running_shards), Balancer(running_shards)
        self._discarded: set[str] = set()

    def start(self) -> None:
        """Add the tasks to the scheduler."""
        self._scheduler.add(ShardSync(self._running_shards), Lane.COORDINATOR)
        self._scheduler.add(self._renewals, Lane.RENEWALS)
        self._scheduler.add(self._balance, Lane.COORDINATOR)

    @property
    def leases(self) -> int:
        """Return the number of shards this process reads."""
        return len(self._running_shards.running)

    @property
    def takes_part(self) -> bool:
        """It has looked at the table and acted upon it, so it is one of the fleet."""
        return self._running_shards.takes_part

    @property
    def draining(self) -> bool:
        """Return whether this worker is draining, so it takes no more leases."""
        return self._running_shards.draining

    @property
    def caught_up(self) -> bool:
        """Return whether every shard of the stream has been read up to the end of the run."""
        return self._balance.caught_up

    @property
    def finished(self) -> bool:
        """Return whether every shard is delivered and handed off, including takes that the drain interrupted."""
        return not self._running_shards.taking.locked() and all(c.over for c in self._running_shards.running.values())

    @property
    def undelivered(self) -> list[str]:
        """The shards of which fetched records were given up while the worker drained, although it had their leases."""
        return self._running_shards.undelivered()

    def drain(self, patience: float = float("inf"), until: float = float("inf")) -> float:
        """Take nothing more; deliver, checkpoint, and hand every lease to a live peer, or release it.

        Returns the seconds, at most `patience`, for which shards are still read while those who follow get ready. What
        is not delivered at `until`, by the engine's clock, is left to them.
        """
        self._running_shards.draining = True
        drain_task = Drain(self._running_shards, self._balance.next_owners)
        reads_on = drain_task.announce(min(patience, self._balance.notice), until)
        self._scheduler.wake(self._renewals)
        self._scheduler.add(drain_task, Lane.COORDINATOR)
        self._scheduler.wake(self._balance)
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
        """Decline pending offers so that their senders do not wait; return False when the lease table failed."""
        table = self._running_shards.table
        try:
            rows = table.read([row.shard_id for row in table.scan()])
            table.write(self._balance.incoming.declines(rows))
        except Retryable as error:
            self._running_shards.log.warning("decline_offers.failed", error=str(error))
            return False
        return True
