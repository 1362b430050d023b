"""Reset random lineages, and let pure rules say what workers would read afterwards."""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lineage import missing
from consumer.leases import Change, EditableLeaseTable, Lease, Written
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END, TRIM_HORIZON, Position, PositionKind, Record, Shard
from tests.unit.checkpoints.worlds import World, at

MINUTES = 60


@dataclass
class History:
    """A stream that was resharded at random, and an application that has read some of it, parents first."""

    rng: random.Random
    table: EditableLeaseTable = field(default_factory=MemoryLeaseTable)

    def __post_init__(self) -> None:
        self.world = World(table=self.table)
        for minute in range(MINUTES):
            for second in sorted(self.rng.sample(range(60), self.rng.randint(0, 2))):
                self.world.put(self.rng.choice(self.open).shard_id, minute + second / 60)
            if self.rng.random() < 0.12:
                self._reshard()
        self.records = {shard.shard_id: self._records(shard.shard_id) for shard in self.shards}
        self._read_some()

    @property
    def shards(self) -> list[Shard]:
        return list(self.world.stream.shards())

    @property
    def open(self) -> list[Shard]:
        return [shard for shard in self.shards if not shard.closed]

    def _reshard(self) -> None:
        ordered = sorted(self.open, key=lambda shard: shard.hash_range)
        number = self.rng.randrange(len(ordered))
        if self.rng.random() < 0.5 and number + 1 < len(ordered):
            self.world.stream.merge(ordered[number].shard_id, ordered[number + 1].shard_id)
        else:
            self.world.stream.split(ordered[number].shard_id)

    def _records(self, shard_id: str) -> list[Record]:
        stream = self.world.stream
        return list(stream.fetch(stream.open(shard_id, TRIM_HORIZON), 10_000).records)

    def _read_some(self) -> None:
        """Create the rows of an application. It may have removed rows of ended parents, as a KCL does."""
        ended: set[str] = set()
        for shard in self.shards:
            records = self.records[shard.shard_id]
            waits = any(parent not in ended for parent in shard.parents)
            count = 0 if waits else self.rng.choice([0, len(records) // 2, len(records), len(records)])
            if not waits and shard.closed and count == len(records) and self.rng.random() < 0.9:
                ended.add(shard.shard_id)
                if self.rng.random() < 0.8 or not self._has_row_later(shard):
                    self.world.row(shard.shard_id, SHARD_END, self._minute(records))
            else:
                done = Position.of(records[count - 1].sequence) if count else TRIM_HORIZON
                self.world.row(shard.shard_id, done, self._minute(records[:count]))

    def _has_row_later(self, shard: Shard) -> bool:
        return any(shard.shard_id in other.parents for other in self.shards)

    def _minute(self, records: list[Record]) -> float | None:
        return (records[-1].arrived_at - at(0).timestamp()) / 60 if records else None

    def will_read(self) -> set[int]:
        """Return the records that workers will read: from each row, and from the rows that shard sync creates."""
        rows = list(self.world.rows.values())
        position = InitialPosition(TRIM_HORIZON, None, None).following(rows)
        rows += [position.lease(shard) for shard in missing(self.shards, {row.shard_id for row in rows})]
        return {record.sequence for row in rows for record in self._after(row)}

    def _after(self, row: Lease) -> Iterator[Record]:
        start = row.start
        for record in self.records[row.shard_id] if not row.ended else ():
            if start.kind is PositionKind.SEQUENCE:
                if Position.of(record.sequence) > start:
                    yield record
            elif start.at is None or record.arrived_at >= start.at.timestamp():
                yield record

    def lineage(self, shard_id: str) -> set[str]:
        """Return a shard and its descendants."""
        found = {shard_id}
        for shard in self.shards:
            if found & set(shard.parents):
                found.add(shard.shard_id)
        return found


def since(history: History, shard_ids: set[str], minute: float) -> set[int]:
    return {
        record.sequence
        for shard_id in shard_ids
        for record in history.records[shard_id]
        if record.arrived_at >= at(minute).timestamp()
    }


@pytest.mark.parametrize("seed", range(150))
def test_everything_since_the_time_is_read_again_and_nothing_before_it(seed: int) -> None:
    """Rows that are removed are created again for the whole shard, and such a shard is younger than the time."""
    history = History(random.Random(seed))
    rng = random.Random(-seed)
    minute = rng.uniform(0, MINUTES)
    history.world.reset(at(minute).isoformat())
    every = {shard.shard_id for shard in history.shards}
    assert history.will_read() == since(history, every, minute)


@pytest.mark.parametrize("seed", range(150))
def test_a_reset_of_one_shard_concerns_its_lineage_only(seed: int) -> None:
    """What other shards had left to read stays the same."""
    history = History(random.Random(seed))
    rng = random.Random(-seed)
    minute, chosen = rng.uniform(0, MINUTES), rng.choice(history.shards).shard_id
    lineage, before = history.lineage(chosen), history.will_read()
    others = {
        record.sequence
        for shard in history.shards
        if shard.shard_id not in lineage
        for record in history.records[shard.shard_id]
    }
    history.world.reset(at(minute).isoformat(), chosen)
    after = history.will_read()
    assert after & others == before & others
    assert after - others == since(history, lineage, minute)


class Killed(BaseException):
    """The process ends at once."""


class Mortal(MemoryLeaseTable):
    """A table that a process can use a number of times before it is killed."""

    calls_left = 1_000_000

    def _call(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Killed

    def create(self, lease: Lease) -> None:
        self._call()
        super().create(lease)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        self._call()
        return super().write(changes)

    def rewrite(self, changes: Sequence[Change]) -> Sequence[Written]:
        self._call()
        return super().rewrite(changes)

    def remove(self, lease: Lease) -> bool:
        self._call()
        return super().remove(lease)


@pytest.mark.parametrize("seed", range(60))
def test_a_reset_that_was_killed_is_completed_by_the_next_one(seed: int) -> None:
    """At any write. Leases that are right already are left to expire, like those of a worker that was killed."""
    table = Mortal()
    history, rng = History(random.Random(seed), table), random.Random(-seed)
    minute = rng.uniform(0, MINUTES)
    table.calls_left = rng.randrange(8)
    with suppress(Killed):
        history.world.reset(at(minute).isoformat())
    table.calls_left = 1_000_000
    history.world.reset(at(minute).isoformat())
    assert history.will_read() == since(history, {shard.shard_id for shard in history.shards}, minute)
