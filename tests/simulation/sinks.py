"""The sinks of a simulated fleet: they are slow, fail, reject rows, or kill the process that writes."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from consumer.errors import BatchRejected, RowsRejected, SinkUnavailable
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows
from tests.simulation.stream import Faults
from tests.simulation.world import Killed, Process, World


class Line(msgspec.Struct):
    """What a simulated row or dead letter says. The event id of a dead letter is marked."""

    event_id: str
    shard_id: str
    sequence_number: str


_decode = msgspec.json.Decoder(Line).decode_lines


class Delivered(NamedTuple):
    event_id: str
    shard_id: str
    sequence: int
    at: float


@dataclass
class Store:
    """Everything that a sink holds: every delivered row of all workers, in order."""

    repeats: Deduplication
    rows: list[Delivered] = field(default_factory=list)
    known: set[object] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)  # names of batches without a rejected row

    def add(self, name: str, rows: Sequence[Delivered]) -> int:
        """Store rows as a sink with this deduplication does; return how many it had already."""
        if self.repeats is Deduplication.BY_BATCH:
            if name in self.known:
                return len(rows)
            self.known.add(name)
        fresh = [row for row in rows if self.repeats is not Deduplication.BY_ROW or row.event_id not in self.known]
        if self.repeats is Deduplication.BY_ROW:
            self.known.update(row.event_id for row in fresh)
        self.rows.extend(fresh)
        return len(rows) - len(fresh)


class SimSink:
    """The sink of one process. It is slow, fails before or after the write, and rejects some rows.

    The process may die between write and checkpoint, and the next owner's batches have other limits. `holder` returns
    the owner of a shard.
    """

    def __init__(
        self,
        world: World,
        store: Store,
        process: Process,
        faults: Faults,
        holder: Callable[[str], str | None] | None = None,
    ) -> None:
        self._world, self._store, self._process, self._faults = world, store, process, faults
        self._holder = holder or (lambda _: process.name)
        self.limits = BatchLimits(world.rng.choice([3, 8, 20]), 10_000, world.rng.choice([0.5, 3.0]))
        self.repeats, self.rejects_rows = store.repeats, True

    def check(self) -> None:
        pass

    def holds(self, name: str) -> bool:
        return name in self._store.whole

    def close(self) -> None:
        pass

    def write(self, rows: Rows) -> int:
        items = [row for block in rows for row in _decode(block.lines)]
        self._check_holder({row.shard_id for row in items})
        slow = self._faults.happens("slow sink")
        self._world.spend(
            self._process, self._world.rng.uniform(2, 25) if slow else self._world.rng.uniform(0.001, 0.05)
        )
        if self._faults.happens("sink before"):
            raise SinkUnavailable
        bad = {i: "no" for i, row in enumerate(items) if row.event_id.startswith("r")}
        if bad and self._store.repeats is Deduplication.BY_ROW and self._world.seed % 2:
            raise BatchRejected
        good = [
            Delivered(row.event_id, row.shard_id, int(row.sequence_number), self._world.now)
            for i, row in enumerate(items)
            if i not in bad
        ]
        repeated = self._store.add(rows.name, good)
        if not bad:
            self._store.whole.add(rows.name)
        if self._faults.happens("death"):
            self._process.alive = False
            raise Killed
        if self._faults.happens("sink after"):
            raise SinkUnavailable
        if bad:
            raise RowsRejected(bad, repeated)
        return repeated

    def _check_holder(self, shards: Collection[str]) -> None:
        for shard_id in shards:
            if (holder := self._holder(shard_id)) != self._process.name:
                self._world.violated(f"{self._process.name} delivers {shard_id}, which is {holder}'s")
