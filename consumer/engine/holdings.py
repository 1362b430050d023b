"""What the coordinator's tasks share: the fleet's terms, and the shards that this process reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from consumer.engine.lineage import Origin, missing
from consumer.engine.scheduler import Lane, Scheduler
from consumer.engine.shard_consumer import ShardConsumer
from consumer.engine.surroundings import Surroundings
from consumer.engine.tenure import Tenure
from consumer.leases import Heir, Lease, LeaseTable, Worker
from consumer.records import Shard


@dataclass(frozen=True, slots=True)
class Fleet:
    """How this worker takes part. `until`: the run ends once every shard is delivered up to that instant."""

    me: Worker
    lease_duration: float = 10.0
    audit_interval: float = 180.0
    most_leases: int = 1_000_000
    until: datetime | None = None

    @property
    def renewal_interval(self) -> float:
        """A third of the lease: two renewals may fail before it runs out."""
        return self.lease_duration / 3

    @property
    def probe_interval(self) -> float:
        """A tenth of the lease, so that a silent owner is found out within two of them after its lease."""
        return min(1.0, self.lease_duration / 10)


class Holdings:
    """The shards this process reads, and the rows they stand for."""

    def __init__(
        self, fleet: Fleet, table: LeaseTable, world: Surroundings, origin: Origin, scheduler: Scheduler
    ) -> None:
        self.fleet, self.table, self.world, self.origin = fleet, table, world, origin
        self.running: dict[str, ShardConsumer] = {}  # replaced, never changed: other lanes iterate over it
        self.takes_part = False  # the table has been looked at and acted upon once
        self.draining = False
        self.discovered = False  # the stream has been listed once, so every shard that it had has a row
        self.log = world.log.bind()
        self._scheduler = scheduler

    def read(self, tenure: Tenure) -> None:
        """Begin to read a shard."""
        consumer = ShardConsumer(tenure, self.world, self.register)
        self.running = {**self.running, tenure.shard_id: consumer}
        self._scheduler.add(consumer, Lane.SHARDS)

    def hand_over(self, consumer: ShardConsumer, heir: Heir | None) -> None:
        """Give a shard up once it has delivered what it has."""
        consumer.hand_over(heir)
        self._scheduler.wake(consumer)

    def reap(self) -> None:
        """Forget the shards that are over."""
        self.running = {shard_id: consumer for shard_id, consumer in self.running.items() if not consumer.over}

    def register(self, parent: Lease, children: Sequence[Shard]) -> tuple[str, ...]:
        """Make sure that the children of a finished shard have rows; returns their names.

        An answer that names no children is not believed: some emulators leave them out, so the stream is asked.
        """
        shards = list(self.world.stream.shards())
        listed = {shard.shard_id for shard in shards}
        self.add_rows(shards + [child for child in children if child.shard_id not in listed])
        known = {child.shard_id for child in children}
        known |= {shard.shard_id for shard in shards if parent.shard_id in shard.parents}
        return tuple(sorted(known))

    def add_rows(self, shards: Sequence[Shard]) -> list[Lease]:
        """Make the rows that a listing calls for; returns all rows as they were before."""
        rows = list(self.table.scan())
        origin = self.origin.following(rows)
        for shard in missing(shards, {row.shard_id for row in rows} | self.table.unreadable().keys()):
            self.table.create(origin.lease(shard))
            self.log.info("lease.created", shard=shard.shard_id, position=str(origin.position))
        return rows
