"""One worker's part in the fleet: find shards, renew its leases, take and ask for its share, hand over, tidy.

Three tasks on lanes of their own, and no leader: every worker does the same with what it sees in the lease table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.engine.assignment import Watch, peers_of, plan
from consumer.engine.backoff import Backoff
from consumer.engine.lineage import Origin, missing, tombstones
from consumer.engine.scheduler import Lane, Scheduler
from consumer.engine.shard_consumer import ShardConsumer, Surroundings
from consumer.engine.tenure import Tenure
from consumer.errors import ConfigurationError, LeaseTableUnavailable, Retryable
from consumer.leases import Change, Lease, LeaseTable, Worker
from consumer.leases.lease import taken
from consumer.records import Shard

# Date headers are whole seconds rounded down: what another worker calls read may be a second short of it.
DATE_RESOLUTION = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Fleet:
    """How this worker takes part. `until`: the run ends once every shard is delivered up to that instant."""

    me: Worker
    lease_duration: float = 10.0
    discovery_interval: float = 30.0
    most_leases: int = 1_000_000
    until: datetime | None = None

    @property
    def renewal_interval(self) -> float:
        """A third of the lease: two renewals may fail before it runs out."""
        return self.lease_duration / 3

    @property
    def scan_interval(self) -> float:
        """A tenth of the lease, so that a silent owner is found out within two of them after its lease."""
        return min(1.0, self.lease_duration / 10)


class Coordinator:
    """What the three tasks share: the shards this process reads."""

    def __init__(
        self, fleet: Fleet, table: LeaseTable, world: Surroundings, origin: Origin, scheduler: Scheduler
    ) -> None:
        self.fleet, self.table, self.world, self.origin = fleet, table, world, origin
        self.running: dict[str, ShardConsumer] = {}  # replaced, never changed: other lanes iterate over it
        self.draining = False
        self.caught_up = False
        self.discovered = False
        self._scheduler = scheduler
        self._balance = Balance(self)
        self.log = world.log.bind()

    def start(self) -> None:
        """Hand the tasks to the scheduler."""
        self._scheduler.add(Discovery(self), Lane.COORDINATOR)
        self._scheduler.add(Renewals(self), Lane.RENEWALS)
        self._scheduler.add(self._balance, Lane.COORDINATOR)

    def drain(self, abandon: bool = False) -> None:
        """Take nothing more; deliver, checkpoint, and offer every lease to a live peer, or release it."""
        self.draining = True
        peers = self._balance.peers()
        for consumer in self.running.values():
            consumer.tenure.draining = True
            heir = min(peers, key=lambda peer: (peers[peer], peer), default=None)
            if heir is not None:
                peers[heir] += 1
            consumer.abandon() if abandon else consumer.hand_over(heir)
            self._scheduler.wake(consumer)

    def reap(self) -> None:
        """Forget the shards that are over."""
        self.running = {shard_id: consumer for shard_id, consumer in self.running.items() if not consumer.over}

    def read(self, tenure: Tenure) -> None:
        """Begin to read a shard."""
        consumer = ShardConsumer(tenure, self.world, self.register)
        self.running = {**self.running, tenure.shard_id: consumer}
        self._scheduler.add(consumer, Lane.SHARDS)

    def hand_over(self, shard_id: str, owner: str) -> None:
        """Give a shard up to a peer that asked for it."""
        consumer = self.running.get(shard_id)
        if consumer is not None and not self.draining:
            consumer.hand_over(owner)
            self._scheduler.wake(consumer)

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
        for shard in missing(shards, {row.shard_id for row in rows}):
            self.table.create(origin.lease(shard))
            self.log.info("lease.created", shard=shard.shard_id, position=str(origin.position))
        return rows


class Renewals:
    """Renews all leases of this process in one write, each third of a lease."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._backoff = Backoff(
            coordinator.fleet.lease_duration / 24, coordinator.fleet.lease_duration / 6, coordinator.world.rng
        )

    def step(self, now: float) -> float:
        tenures = [consumer.tenure for consumer in self._coordinator.running.values()]
        begun = [(tenure, change) for tenure in tenures if (change := tenure.begin_renewal()) is not None]
        if not begun:
            return self._coordinator.fleet.renewal_interval / 4
        sent = self._coordinator.world.clock()
        try:
            written = self._coordinator.table.write([change for _, change in begun])
        except LeaseTableUnavailable as error:
            for tenure, _ in begun:
                tenure.end_renewal(None, sent)
            self._coordinator.log.warning("renewal.failed", error=str(error), leases=len(begun))
            return self._backoff.next()
        except BaseException:
            for tenure, _ in begun:
                tenure.end_renewal(None, sent)
            raise
        settled = [tenure.end_renewal(answer, sent) for (tenure, _), answer in zip(begun, written, strict=True)]
        self._backoff.reset()
        return self._coordinator.fleet.renewal_interval if all(settled) else 0.01


class Balance:
    """Looks at the table each tenth of a lease: takes, asks, hands over what was asked for, sees when all is read."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._fleet = coordinator.fleet
        self._watch = Watch(coordinator.fleet.lease_duration)
        self._rows: Sequence[Lease] = ()
        self._arrival: tuple[float, dict[str, int]] | None = None
        self._settled_in = False
        self._namesakes: dict[str, int] = {}

    def step(self, now: float) -> float:
        self._coordinator.reap()
        try:
            self._rows = list(self._coordinator.table.scan())
            self._watch.observe(self._rows, now)
            self._refuse_namesakes()
            if not self._settled_in and (wait := self._settle_in(now)):
                return wait
            if not self._coordinator.draining:
                self._act(now)
        except LeaseTableUnavailable as error:
            self._coordinator.log.warning("scan.failed", error=str(error))
        return self._fleet.scan_interval * self._coordinator.world.rng.uniform(0.8, 1.0)

    def peers(self) -> dict[str, int]:
        """Live peers that may get leases, and how many they have."""
        return dict(peers_of(self._rows, self._watch, self._fleet.me, self._coordinator.world.clock()))

    def _act(self, now: float) -> None:
        running = self._coordinator.running
        decided = plan(self._rows, self._watch, self._fleet.me, running.keys(), now, self._fleet.most_leases)
        self._take(decided.take)
        for row in decided.want:
            self._coordinator.table.want(row, self._fleet.me.worker_id)
            self._coordinator.log.info("lease.wanted", shard=row.shard_id, owner=row.owner)
        for row in self._rows:
            if row.wanted_by is not None and row.held_by(self._fleet.me) and row.wanted_by != self._fleet.me.worker_id:
                self._coordinator.hand_over(row.shard_id, row.wanted_by)
        self._coordinator.caught_up = self._is_caught_up()

    def _take(self, rows: Sequence[Lease]) -> None:
        """Take leases by compare and swap; the answer is the row to start from."""
        if not rows:
            return
        sent = self._coordinator.world.clock()
        changes = [Change(row, taken(row, self._fleet.me)) for row in rows]
        for change, written in zip(changes, self._coordinator.table.write(changes), strict=True):
            if written.done and written.row is not None:
                self._coordinator.read(self._tenure(written.row, sent))
                self._coordinator.log.info(
                    "lease.taken",
                    shard=written.row.shard_id,
                    position=str(written.row.start),
                    owner=change.before.owner,
                )

    def _tenure(self, row: Lease, sent: float) -> Tenure:
        tenure = Tenure(
            self._coordinator.table, row, self._fleet.me, self._fleet.lease_duration, self._coordinator.world.clock
        )
        return tenure.began(sent)

    def _settle_in(self, now: float) -> float:
        """Seconds to watch rows that name us before they are taken back: another process may use our id.

        Rows of a former life do not move in one and a half renewals; those of a live namesake do.
        """
        named = {
            row.shard_id: row.counter for row in self._rows if row.owner == self._fleet.me.worker_id and not row.ended
        }
        if self._arrival is None and named:
            self._arrival = (now, named)
            self._coordinator.log.info("worker.returns", leases=len(named))
            return 1.5 * self._fleet.renewal_interval
        self._settled_in = True
        stale = [row for row in self._rows if row.shard_id in named and not row.held_by(self._fleet.me)]
        self._take(stale if self._arrival else ())
        return 0.0

    def _refuse_namesakes(self) -> None:
        """Two live workers of one id would each take the other's leases for their own: the later one gives way.

        Raises:
            ConfigurationError: another live process has our worker id.
        """
        me = self._fleet.me
        named = {
            row.shard_id: row.counter
            for row in self._rows
            if row.owner == me.worker_id
            and row.token is not None
            and row.token.worker_id == me.worker_id
            and row.token.counter == row.counter
            and row.token.start != me.start
        }
        moved = [shard_id for shard_id, counter in named.items() if self._namesakes.get(shard_id, counter) != counter]
        self._namesakes = named
        starts = [row.token.start for row in self._rows if row.shard_id in moved and row.token is not None]
        if starts and (not self._settled_in or me.start > min(starts)):
            raise ConfigurationError(
                f"another live worker has the id {me.worker_id!r}: give each its own --worker-id, or stop the other one"
            )

    def _is_caught_up(self) -> bool:
        """Has every shard of the stream, whoever holds it, been delivered up to `until`?"""
        until = self._fleet.until
        if until is None or not self._coordinator.discovered or not self._rows:
            return False
        return all(row.ended or self._read_to(row, until) for row in self._rows)

    def _read_to(self, row: Lease, until: datetime) -> bool:
        consumer = self._coordinator.running.get(row.shard_id)
        if consumer is not None and not consumer.tenure.lost:
            return consumer.tenure.read_to is not None and consumer.tenure.read_to >= until
        return row.read_to is not None and row.read_to >= until + DATE_RESOLUTION


class Discovery:
    """Lists the stream's shards at the start and now and then: rows for new ones, and for closed ones left unread."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._backoff = Backoff(0.5, 30.0, coordinator.world.rng)

    def step(self, now: float) -> float:
        try:
            shards = self._coordinator.world.stream.shards()
            rows = self._coordinator.add_rows(shards)
            for row in tombstones(rows, {shard.shard_id for shard in shards}):
                self._coordinator.table.delete(row)
        except Retryable as error:
            self._coordinator.log.warning("discovery.failed", error=str(error))
            return self._backoff.next()
        self._coordinator.discovered = True
        self._backoff.reset()
        return self._coordinator.fleet.discovery_interval * self._coordinator.world.rng.uniform(0.8, 1.0)
