"""Finish a batch that another release prepared, without losing an event."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import pytest

from consumer.errors import SinkUnavailable
from consumer.leases import Pending
from consumer.pipeline.batching import Batch, Part
from consumer.pipeline.delivery import Delivery
from consumer.pipeline.spool import Spool
from consumer.records import BatchLimits, Block, Position
from consumer.sinks import Deduplication, Rows
from tests.unit.clocks import FakeClock
from tests.unit.fakes import Counted, JournalTable, block, encode_dead_letter, held, shown

EVENTS = (1, 2)


@dataclass
class Files:
    """A sink that recognizes batches by name and outlives the process that writes to it."""

    repeats: Deduplication = Deduplication.BY_BATCH
    limits: BatchLimits = field(default_factory=BatchLimits)
    written: dict[str, list[int]] = field(default_factory=dict)
    fails: bool = False
    rejects_rows: bool = False

    def check(self) -> None: ...

    def close(self) -> None: ...

    def holds(self, name: str) -> bool:
        return name in self.written

    def write(self, rows: Rows) -> int:
        if self.fails:
            raise SinkUnavailable
        if rows.name in self.written:
            return len(rows)
        self.written[rows.name] = [int(number) for number in shown(rows)]
        return 0

    @property
    def events(self) -> list[int]:
        """Return all events, with duplicates."""
        return sorted(number for file in self.written.values() for number in file)


def batch(dead: Sequence[int]) -> Batch:
    """Return a batch of the events, in which those of `dead` are dead letters."""
    work: deque[Part] = deque()
    for is_dead in (True, False):
        numbers = [number for number in EVENTS if (number in dead) is is_dead]
        spool = Spool()
        for number in numbers:
            spool.append(Block(b"%d\n" % number, 1) if is_dead else block([number]), 1)
        if numbers:
            work.append(Part("name", spool, 0, len(numbers), is_dead))
    return Batch("name", Position.of(9), work)


@dataclass
class Upgrade:
    """One lease and two sinks, which several releases use one after the other."""

    rows: Files = field(default_factory=Files)
    letters: Files = field(default_factory=Files)

    def __post_init__(self) -> None:
        self.table: JournalTable
        self.table, self.held_lease = held([], FakeClock())

    def release(self, version: str, dead: Sequence[int]) -> None:
        """Start a release that makes the batch again from the stream, and delivers it as far as the sinks allow."""
        delivery = Delivery(self.held_lease, self.rows, self.letters, encode_dead_letter, Counted(), version)
        try:
            delivery.deliver(delivery.resume(batch(dead)))
        except SinkUnavailable:
            self.rows.fails = self.letters.fails = False

    def dies_before(self, sink: str, version: str, dead: Sequence[int]) -> None:
        """Start a release that is killed before it writes to this sink."""
        (self.letters if sink == "letters" else self.rows).fails = True
        self.release(version, dead)

    def dies_before_the_checkpoint(self, version: str, dead: Sequence[int]) -> None:
        """Start a release whose checkpoint is lost, so that its prepared batch stays."""
        self.release(version, dead)
        fresh = Upgrade(self.rows, self.letters)
        self.table, self.held_lease = fresh.table, fresh.held_lease
        self.held_lease.prepare(Pending(Position.of(9), "name", version))


VIEWS = [(), (1,), (2,), (1, 2)]


@pytest.mark.parametrize(("before", "after"), list(product(VIEWS, VIEWS)))
@pytest.mark.parametrize("death", ["letters", "rows", "checkpoint"])
@pytest.mark.parametrize("version", ["", "old", "new"])
@pytest.mark.parametrize("rejects_rows", [False, True])
def test_two_releases_lose_no_event_wherever_the_first_is_killed(
    before: Sequence[int], after: Sequence[int], death: str, version: str, rejects_rows: bool
) -> None:
    """Each row is stored once. Equal versions are the same release."""
    upgrade = Upgrade(Files(rejects_rows=rejects_rows))
    if death == "checkpoint":
        upgrade.dies_before_the_checkpoint(version, before)
    else:
        upgrade.dies_before(death, version, before)
    upgrade.release("new", before if version == "new" else after)
    assert upgrade.table.scan()[0].checkpoint == Position.of(9)
    assert set(upgrade.rows.events) | set(upgrade.letters.events) == set(EVENTS)
    assert len(upgrade.rows.events) == len(set(upgrade.rows.events))
    if version == "new":
        assert upgrade.rows.events + upgrade.letters.events == sorted(set(EVENTS) - set(before)) + sorted(before)


@pytest.mark.parametrize("rejects_rows", [False, True])
def test_a_release_killed_after_its_upgrade_continues_under_its_own_names(rejects_rows: bool) -> None:
    """Killed between dead letters and rows, it writes neither twice.

    Only a sink that writes each batch whole can keep the prepared name for its rows.
    """
    upgrade = Upgrade(Files(rejects_rows=rejects_rows))
    upgrade.dies_before("rows", "old", dead=(2,))
    upgrade.dies_before("rows", "new", dead=(1,))
    upgrade.release("new", dead=(1,))
    assert upgrade.letters.written == {"name": [2], "name.new": [1]}
    assert upgrade.rows.written == {"name.new" if rejects_rows else "name": [2]}


def test_rows_of_the_earlier_release_count_as_repeated() -> None:
    """They are already in the sink."""
    upgrade = Upgrade()
    upgrade.dies_before_the_checkpoint("old", dead=())
    counted = Counted()
    delivery = Delivery(upgrade.held_lease, upgrade.rows, upgrade.letters, encode_dead_letter, counted, "new")
    delivery.deliver(delivery.resume(batch(())))
    assert (counted.rows, counted.repeated) == (2, 2)
