"""Models of Amazon's KCL 2.x and 3.x as peers in a simulated fleet: how they change the table, and how they read.

They only show behaviour that other workers can notice: conditions on the counter alone, takes every two leases,
stealing, leases of finished shards that are taken and renewed, and in 3.x a leader that assigns and moves leases by
`checkpointOwner`. A KCL notices the loss of a lease only when it next writes, so its late batches may repeat.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from consumer.errors import ConsumerError
from consumer.fleet.lineage import missing
from consumer.leases import Lease
from consumer.records import SHARD_END, TRIM_HORIZON, Position
from consumer.runtime.scheduler import Lane
from tests.simulation.fleet import LEASE, SimFleet
from tests.simulation.sinks import Delivered
from tests.simulation.stream import SimClient
from tests.simulation.world import Process, VirtualScheduler

RENEW, TAKE, DISCOVER, FORCE = LEASE / 3, 2 * LEASE, LEASE, 30.0 + LEASE


class KclTable:
    """The lease table under KCL's conditions."""

    def __init__(self, fleet: SimFleet) -> None:
        self._fleet, self._table, self._world = fleet, fleet.table, fleet.world

    def rows(self) -> dict[str, Lease]:
        return {row.shard_id: row for row in self._table.scan()}

    def create(self, lease: Lease) -> None:
        self._table.create(lease)

    def update(self, seen: Lease, **changes: object) -> Lease | None:
        """Change a row if its counter is as seen, which is KCL's only condition; return the row, or None."""
        row = self.rows().get(seen.shard_id)
        if row is None or row.counter != seen.counter:
            return None
        after = replace(row, **changes)  # type: ignore[arg-type]
        if after.checkpoint < row.checkpoint:
            self._world.violated(f"a KCL moved the checkpoint of {row.shard_id} back")
        self._table._rows[row.shard_id] = after
        self._fleet.moved(row, after)
        return after


class KclTask:
    """A periodic job of a worker."""

    def __init__(self, act: Callable[[], None], interval: float) -> None:
        self._act, self._interval = act, interval

    def step(self, now: float) -> float:
        self._act()
        return self._interval


@dataclass
class KclWorker:
    """One worker: the rows that it believes to hold, and its iterator in each."""

    fleet: SimFleet
    process: Process
    three: bool = False  # in KCL 3.x a leader assigns leases; in 2.x every worker takes them
    held: dict[str, Lease] = field(default_factory=dict)
    iterators: dict[str, str] = field(default_factory=dict)
    observed: dict[str, tuple[int, float]] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        world = self.fleet.world
        self.table = KclTable(self.fleet)
        self.client = SimClient(self.fleet.stream, self.process, self.fleet.faults, ours=False)
        scheduler = VirtualScheduler(world, self.process)
        jobs = [(self.renew, RENEW), (self.read, 1.0), (self.discover if self.three else self.take, TAKE)]
        jobs += [(self.discover, DISCOVER), (self.lead, TAKE)] if self.three else []
        for act, interval in jobs:
            scheduler.add(KclTask(act, interval * world.rng.uniform(0.95, 1.0)), Lane.COORDINATOR)
        world.causes.append("kcl")

    @property
    def name(self) -> str:
        return self.process.name

    # Liveness --------------------------------------------------------------------------------------------------------

    def renew(self) -> None:
        for row in list(self.held.values()):
            now = self.table.rows().get(row.shard_id)
            if now is not None and self.three and now.checkpoint_owner == self.name and now.counter == row.counter:
                self._renewed(self.table.update(now, counter=now.counter + 1), row)
            elif now is not None and now.checkpoint_owner is not None:
                self._lose(row.shard_id)
            else:
                self._renewed(self.table.update(row, counter=row.counter + 1), row)

    def _renewed(self, after: Lease | None, before: Lease) -> None:
        if after is None:
            self._lose(before.shard_id)
        else:
            self.held[after.shard_id] = after

    def _lose(self, shard_id: str) -> None:
        self.held.pop(shard_id, None)
        self.iterators.pop(shard_id, None)

    def _expired(self) -> list[Lease]:
        """Return rows whose counter has not moved for one lease. Rows without an owner count as expired at once."""
        now, rows = self.fleet.world.now, self.table.rows()
        for row in rows.values():
            if self.observed.get(row.shard_id, (None, 0.0))[0] != row.counter:
                self.observed[row.shard_id] = (row.counter, now)
        return [row for row in rows.values() if row.owner is None or now - self.observed[row.shard_id][1] > LEASE]

    # 2.x -------------------------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Take expired leases up to the target, or else steal one from the worker with the most leases."""
        expired = [row for row in self._expired() if row.shard_id not in self.held]
        rows = self.table.rows()
        live = Counter(row.owner for row in rows.values() if row.owner and row not in expired)
        live[self.name] += 0
        target = max(1, math.ceil(len(rows) / len(live)))
        needed = target - len(self.held)
        self.fleet.world.rng.shuffle(expired)
        chosen = expired[: max(0, needed)]
        if needed > 0 and not expired:
            most, count = live.most_common(1)[0]
            over = max(count - target, 1 if needed > 1 and count >= target else 0)
            theirs = [row for row in rows.values() if row.owner == most and most != self.name]
            chosen = self.fleet.world.rng.sample(theirs, min(1, over, len(theirs)))
        for row in chosen:
            after = self.table.update(row, owner=self.name, counter=row.counter + 1, checkpoint_owner=None)
            if after is not None:
                self.held[row.shard_id] = after
        self._sync()

    def _sync(self) -> None:
        try:
            shards = self.client.shards()
        except ConsumerError:
            return
        for shard in missing(shards, self.table.rows()):
            self.table.create(Lease(shard.shard_id, TRIM_HORIZON, shard.parents, hash_range=shard.hash_range))

    # 3.x -------------------------------------------------------------------------------------------------------------

    def discover(self) -> None:
        """Start to read the shards that the leader has assigned to this worker."""
        for row in self.table.rows().values():
            if row.owner == self.name and row.checkpoint_owner is None and row.shard_id not in self.held:
                self.held[row.shard_id] = row

    def lead(self) -> None:
        """Lead if this is the first live worker: assign expired leases, and sometimes move a lease."""
        threes = [kcl for kcl in self.fleet.kcls if kcl.three and kcl.process.alive]
        if threes[:1] != [self]:
            return
        rng, now = self.fleet.world.rng, self.fleet.world.now
        ours = [worker.process.name for worker in self.fleet.workers if worker.process.alive and not worker.draining]
        names = [kcl.name for kcl in threes]
        for row in self._expired():
            if not row.ended:
                owner = rng.choice([*names, *ours] if rng.random() < 0.3 else names)
                self.table.update(row, owner=owner, checkpoint_owner=None, counter=row.counter + 1)
        for row in self.table.rows().values():
            if row.checkpoint_owner is not None and now - self.moved.get(row.shard_id, now) > FORCE:
                self.table.update(row, checkpoint_owner=None, counter=row.counter + 1)
        movable = [row for row in self.table.rows().values() if row.owner and not row.checkpoint_owner]
        if movable and rng.random() < 0.5:
            row = rng.choice(movable)
            next_owner = rng.choice([*names, *ours])
            if next_owner != row.owner and not row.ended:
                self.moved[row.shard_id] = now
                self.table.update(row, owner=next_owner, checkpoint_owner=row.owner)
        self._sync()

    # Reading ---------------------------------------------------------------------------------------------------------

    def read(self) -> None:
        for row in list(self.held.values()):
            rows = self.table.rows()
            blocked = any(parent in rows and not rows[parent].ended for parent in row.parents)
            if not blocked and not row.ended and row.shard_id in self.held:
                try:
                    self._read(row.shard_id)
                except ConsumerError:
                    self.iterators.pop(row.shard_id, None)
            self._end_move(row.shard_id)

    def _read(self, shard_id: str) -> None:
        after = self.held[shard_id].start
        iterator = self.iterators.get(shard_id) or self.client.open(shard_id, after)
        fetched = self.client.fetch(iterator, 10_000)
        last = after
        for record in fetched.records:
            for sub, event_id in enumerate(record.data.decode().split(",")):
                position = Position.of(record.sequence, sub)
                if position > after:
                    self._deliver(event_id, shard_id, record.sequence)
                last = max(last, position)
        if last != after and not self._checkpoint(shard_id, last):
            return
        if fetched.next_iterator is None:
            self._end(shard_id)
        else:
            self.iterators[shard_id] = fetched.next_iterator

    def _deliver(self, event_id: str, shard_id: str, sequence: int) -> None:
        if event_id.startswith("s"):
            return
        dead = event_id[0] in "xr"
        line = f"dead:{event_id}" if dead else event_id
        store = self.fleet.dead if dead else self.fleet.rows
        store.add(line, [Delivered(line, shard_id, sequence, self.fleet.world.now)])

    def _checkpoint(self, shard_id: str, position: Position, children: tuple[str, ...] = ()) -> bool:
        row = self.held.get(shard_id)
        if row is None:
            return False
        self._renewed(
            self.table.update(
                row, checkpoint=position, counter=row.counter + 1, switches=0, pending=None, children=children
            ),
            row,
        )
        return shard_id in self.held

    def _end(self, shard_id: str) -> None:
        for name in self.fleet.stream.shards[shard_id].children:
            child = self.fleet.stream.shards[name].shard
            if all(parent in self.table.rows() for parent in child.parents):
                self.table.create(Lease(name, TRIM_HORIZON, child.parents, hash_range=child.hash_range))
        self._checkpoint(shard_id, SHARD_END, tuple(self.fleet.stream.shards[shard_id].children))

    def _end_move(self, shard_id: str) -> None:
        """Complete a move as the old owner: everything read is checkpointed."""
        row = self.held.get(shard_id)
        if row is not None and row.checkpoint_owner == self.name:
            self.table.update(row, checkpoint_owner=None, counter=row.counter + 1)
            self._lose(shard_id)
