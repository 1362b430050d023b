"""Hold the shards that this process reads, for all tasks of the coordinator."""

import threading
from dataclasses import dataclass
from datetime import datetime

from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lease_timings import LeaseTimings
from consumer.fleet.shard_rows import ShardRows
from consumer.fleet.unreadable_rows import UnreadableRows
from consumer.leases import Lease, LeaseTable, NextOwner, WorkerIdentity
from consumer.runtime.scheduler import Lane, Scheduler
from consumer.shard.consumer import ShardConsumer
from consumer.shard.context import ShardContext
from consumer.shard.held_lease import HeldLease


@dataclass(frozen=True, slots=True)
class Fleet:
    """How this worker takes part in its fleet. Durations are in seconds.

    `audit_interval`: between two checks for shards without a row. `until`: the run ends once every shard is delivered
    up to this instant; None: it runs until it is stopped.
    """

    me: WorkerIdentity
    lease_duration: float = 10.0
    audit_interval: float = 180.0
    most_leases: int = 1_000_000
    until: datetime | None = None

    @property
    def timings(self) -> LeaseTimings:
        """Return the intervals that follow from the lease duration."""
        return LeaseTimings(self.lease_duration)


class RunningShards:
    """The consumers of this process, and what starts and ends them.

    `running`: by shard id; replaced at each change, because other lanes iterate over it. `takes_part`: the lease table
    was scanned and acted on at least once. `taking`: locked while leases are taken, so that a drain waits for them.
    """

    def __init__(
        self,
        fleet: Fleet,
        table: LeaseTable,
        context: ShardContext,
        initial_position: InitialPosition,
        scheduler: Scheduler,
    ) -> None:
        self.fleet, self.table, self.context = fleet, table, context
        self.log = context.log.bind()
        self.rows = ShardRows(table, context.stream, initial_position, context.clock, self.log)
        self.unreadable = UnreadableRows(table, self.log, fleet.audit_interval)
        self.running: dict[str, ShardConsumer] = {}
        self.takes_part = False
        self.draining = False
        self.taking = threading.Lock()
        self._undelivered: list[str] = []
        self._scheduler = scheduler

    def read(self, row: Lease, sent: float) -> None:
        """Start to read a shard whose lease was taken. `sent`: the time just before the take was sent."""
        fleet, clock = self.fleet, self.context.clock
        held_lease = HeldLease(self.table, row, fleet.me, fleet.lease_duration, clock).began(sent)
        consumer = ShardConsumer(held_lease, self.context, self.rows.register)
        self.running = {**self.running, held_lease.shard_id: consumer}
        self._scheduler.add(consumer, Lane.SHARDS)

    def hand_off(self, consumer: ShardConsumer, next_owner: NextOwner | None, until: float | None = None) -> None:
        """Hand off a shard once it has delivered what it fetched, at `until` at the latest (None: after one lease)."""
        latest = self.context.clock() + self.fleet.timings.handoff_patience if until is None else until
        consumer.hand_off(next_owner, latest)
        self._scheduler.wake(consumer)

    def undelivered(self) -> list[str]:
        """Return the shards that the draining worker left before everything fetched was delivered."""
        running = self.running.values()  # first: at any time a shard is in one of the two
        return [consumer.shard_id for consumer in running if consumer.undelivered] + self._undelivered

    def remove_finished(self) -> None:
        """Remove the consumers that have ended."""
        if self.draining:
            self._undelivered += [c.shard_id for c in self.running.values() if c.over and c.undelivered]
        self.running = {shard_id: consumer for shard_id, consumer in self.running.items() if not consumer.over}
