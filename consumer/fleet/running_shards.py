"""What the coordinator's tasks share: the fleet's terms, and the shards that this process reads."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from consumer.errors import StreamUnavailable
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lineage import covered, missing, unfinished
from consumer.leases import Lease, LeaseTable, NextOwner, WorkerIdentity
from consumer.records import Shard
from consumer.runtime.scheduler import Lane, Scheduler
from consumer.shard.consumer import ShardConsumer
from consumer.shard.context import ShardContext
from consumer.shard.held_lease import HeldLease
from consumer.shard.listing import complete, doubtful


@dataclass(frozen=True, slots=True)
class Fleet:
    """How this worker takes part. `until`: the run ends once every shard is delivered up to that instant."""

    me: WorkerIdentity
    lease_duration: float = 10.0
    audit_interval: float = 180.0
    most_leases: int = 1_000_000
    until: datetime | None = None

    @property
    def renewal_interval(self) -> float:
        """A third of the lease: two renewals may fail before it runs out."""
        return self.lease_duration / 3

    @property
    def balance_interval(self) -> float:
        """A tenth of the lease, so that a silent owner is found out within two of them after its lease."""
        return min(1.0, self.lease_duration / 10)


# Seconds for which a listing that may lack shards has to stay the same.
LOOK_AGAIN = 1.0


class RunningShards:
    """The shards this process reads, and the rows they stand for."""

    def __init__(
        self,
        fleet: Fleet,
        table: LeaseTable,
        context: ShardContext,
        initial_position: InitialPosition,
        scheduler: Scheduler,
    ) -> None:
        self.fleet, self.table, self.context, self.initial_position = fleet, table, context, initial_position
        self.running: dict[str, ShardConsumer] = {}  # replaced, never changed: other lanes iterate over it
        self.takes_part = False  # the table has been looked at and acted upon once
        self.draining = False
        self.taking = threading.Lock()  # held while leases are taken: a drain waits for those that are under way
        self._undelivered: list[str] = []
        self.discovered = False  # a listing that can be believed was made, and every shard of it has a row
        self._doubted: tuple[frozenset[str], float] | None = None  # a listing that may lack shards, and since when
        self.listed_beside: frozenset[str] | None = None  # the unfinished rows to which that listing had to add nothing
        self.log = context.log.bind()
        self._scheduler = scheduler

    def read(self, held_lease: HeldLease) -> None:
        """Begin to read a shard."""
        consumer = ShardConsumer(held_lease, self.context, self.register)
        self.running = {**self.running, held_lease.shard_id: consumer}
        self._scheduler.add(consumer, Lane.SHARDS)

    def hand_off(self, consumer: ShardConsumer, next_owner: NextOwner | None, until: float | None = None) -> None:
        """Give a shard up once it has delivered what it has, at `until` or after a lease's length at the latest."""
        consumer.hand_off(next_owner, self.context.clock() + self.fleet.lease_duration if until is None else until)
        self._scheduler.wake(consumer)

    def undelivered(self) -> list[str]:
        """The shards that were left by a worker which drains before all was delivered that it had fetched."""
        running = self.running.values()  # before the others: a shard is in one of them at any time
        return [consumer.shard_id for consumer in running if consumer.undelivered] + self._undelivered

    def every_shard_has_a_row(self, rows: Sequence[Lease]) -> bool:
        """Return whether no row is missing: they cover all hash keys, or a believed listing had nothing to add."""
        return covered(rows) or self.listed_beside == unfinished(rows)

    def remove_finished(self) -> None:
        """Forget the shards that are over."""
        if self.draining:
            self._undelivered += [c.shard_id for c in self.running.values() if c.over and c.undelivered]
        self.running = {shard_id: consumer for shard_id, consumer in self.running.items() if not consumer.over}

    def register(self, parent: Lease, children: Sequence[Shard]) -> tuple[str, ...]:
        """Make sure that the children of a finished shard have rows; returns their names.

        The stream is asked too: some emulators name no children, or nothing but their names. When the listing may lack
        shards, the children alone get rows, as nothing can be said of the others.

        Raises:
            StreamUnavailable: another parent of a child is not known yet. With a row for the child it would look ended.
        """
        shards = list(self.context.stream.shards())
        named, listed = ({shard.shard_id for shard in some} for some in (children, shards))
        family = [shard for shard in shards if shard.shard_id in named or parent.shard_id in shard.parents]
        unlisted = [child for child in children if child.shard_id not in listed]
        believed = self.believes(shards)
        known = {row.shard_id for row in self.table.scan()} | {parent.shard_id} | (listed if believed else set())
        uncertain = unlisted if believed else family + unlisted
        if any(other not in known for child in uncertain for other in child.parents):
            raise StreamUnavailable("the listing lacks a parent of this shard's children; looking again")
        self.add_rows((shards if believed else family) + unlisted)
        return tuple(sorted(named | {shard.shard_id for shard in family}))

    def believes(self, shards: Sequence[Shard]) -> bool:
        """Return whether a listing is complete, and when a shard may be missing all the same, has stayed as it is."""
        if not complete(shards) or not doubtful(shards):
            return complete(shards)
        shard_ids, now = frozenset(shard.shard_id for shard in shards), self.context.clock()
        if self._doubted is None or self._doubted[0] != shard_ids:
            self._doubted = (shard_ids, now)
        return now - self._doubted[1] >= LOOK_AGAIN

    def add_rows(self, shards: Sequence[Shard]) -> list[Lease]:
        """Make the rows that a listing calls for; returns all rows as they were before."""
        rows = list(self.table.scan())
        initial_position = self.initial_position.following(rows)
        for shard in missing(shards, {row.shard_id for row in rows} | self.table.unreadable().keys()):
            self.table.create(initial_position.lease(shard))
            self.log.info("lease.created", shard=shard.shard_id, position=str(initial_position.position))
        return rows
