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

    def __init__(self, holdings: RunningShards, scheduler: Scheduler) -> None:
        self._holdings, self._scheduler = holdings, scheduler
        self._renewals, self._balance = Renewer(holdings), Balancer(holdings)
        self._abandoned: set[str] = set()

    def start(self) -> None:
        """Hand the tasks to the scheduler."""
        self._scheduler.add(ShardSync(self._holdings), Lane.COORDINATOR)
        self._scheduler.add(self._renewals, Lane.RENEWALS)
        self._scheduler.add(self._balance, Lane.COORDINATOR)

    @property
    def leases(self) -> int:
        """How many shards this process reads."""
        return len(self._holdings.running)

    @property
    def takes_part(self) -> bool:
        """It has looked at the table and acted upon it, so it is one of the fleet."""
        return self._holdings.takes_part

    @property
    def draining(self) -> bool:
        """It takes nothing more."""
        return self._holdings.draining

    @property
    def caught_up(self) -> bool:
        """Every shard of the stream has been read up to where the run ends."""
        return self._balance.caught_up

    @property
    def drained(self) -> bool:
        """Every shard has been delivered and handed on, those too that were being taken when the drain began."""
        return not self._holdings.taking.locked() and all(c.over for c in self._holdings.running.values())

    @property
    def undelivered(self) -> list[str]:
        """The shards of which fetched records were given up while the worker drained, although it had their leases."""
        return self._holdings.undelivered()

    def drain(self, patience: float = float("inf"), until: float = float("inf")) -> float:
        """Take nothing more; deliver, checkpoint, and hand every lease to a live peer, or release it.

        Returns the seconds, at most `patience`, for which shards are still read while those who follow get ready. What
        is not delivered at `until`, by the engine's clock, is left to them.
        """
        self._holdings.draining = True
        departure = Drain(self._holdings, self._balance.next_owners)
        reads_on = departure.announce(min(patience, self._balance.notice), until)
        self._scheduler.wake(self._renewals)
        self._scheduler.add(departure, Lane.COORDINATOR)
        self._scheduler.wake(self._balance)
        return reads_on

    def abandon(self) -> None:
        """Take nothing more, release every lease, deliver nothing more. To be repeated: a take may end late."""
        self._holdings.draining = True
        for shard_id, consumer in self._holdings.running.items():
            if shard_id not in self._abandoned:
                self._abandoned.add(shard_id)
                consumer.abandon()
                self._scheduler.wake(consumer)

    def let_go(self) -> None:
        """Give up the shards of which a read is still under way."""
        for consumer in self._holdings.running.values():
            with suppress(Retryable, LeaseLost):
                consumer.let_go()

    def farewell(self) -> bool:
        """Refuse what is on its way still, such as an offer made to us while we left: nobody shall wait for a lease."""
        table = self._holdings.table
        try:
            rows = table.read([row.shard_id for row in table.scan()])
            table.write(self._balance.arrivals.refusals(rows))
        except Retryable as error:
            self._holdings.log.warning("farewell.failed", error=str(error))
            return False
        return True
