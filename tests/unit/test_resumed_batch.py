"""A batch that one release prepared and another one finishes: no event is lost, whatever each makes of it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import pytest

from consumer.errors import SinkUnavailable
from consumer.leases import Pending
from consumer.pipeline.batching import Batch, Chunk
from consumer.pipeline.delivery import Delivery
from consumer.pipeline.spool import EncodedDeadLetter, Spool
from consumer.records import BatchLimits, Position
from consumer.sinks import Batch as Written
from consumer.sinks import Deduplication
from tests.unit.clocks import FakeClock
from tests.unit.fakes import Counted, JournalTable, encode_dead_letter, held, row

EVENTS = (1, 2)


@dataclass
class Files:
    """A sink that recognises batches by name; it outlives the process that writes to it."""

    repeats: Deduplication = Deduplication.BY_BATCH
    limits: BatchLimits = field(default_factory=BatchLimits)
    written: dict[str, list[int]] = field(default_factory=dict)
    fails: bool = False

    def check(self) -> None: ...

    def close(self) -> None: ...

    def holds(self, name: str) -> bool:
        return name in self.written

    def write(self, batch: Written) -> int:
        if self.fails:
            raise SinkUnavailable
        if batch.name in self.written:
            return len(batch)
        self.written[batch.name] = [int(item.line) for item in batch]
        return 0

    @property
    def events(self) -> list[int]:
        """All events, repeated ones as often as they are there."""
        return sorted(number for file in self.written.values() for number in file)


def batch(dead: Sequence[int]) -> Batch:
    """The events, of which a release takes those in `dead` for dead letters."""
    work: deque[Chunk] = deque()
    for is_dead in (True, False):
        numbers = [number for number in EVENTS if (number in dead) is is_dead]
        spool = Spool()
        for number in numbers:
            spool.append(EncodedDeadLetter(str(number).encode(), row(number).location) if is_dead else row(number), 1)
        if numbers:
            work.append(Chunk("name", spool, 0, len(numbers), is_dead))
    return Batch("name", Position.of(9), work)


@dataclass
class Upgrade:
    """One lease and two sinks, on which releases follow each other."""

    rows: Files = field(default_factory=Files)
    letters: Files = field(default_factory=Files)

    def __post_init__(self) -> None:
        self.table: JournalTable
        self.table, self.held_lease = held([], FakeClock())

    def release(self, version: str, dead: Sequence[int]) -> None:
        """Start a release that makes the batch anew from the stream, and delivers it as far as the sinks allow."""
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
        """Start a release whose checkpoint is lost: its prepared batch stays."""
        self.release(version, dead)
        fresh = Upgrade(self.rows, self.letters)
        self.table, self.held_lease = fresh.table, fresh.held_lease
        self.held_lease.prepare(Pending(Position.of(9), "name", version))


VIEWS = [(), (1,), (2,), (1, 2)]


@pytest.mark.parametrize(("before", "after"), list(product(VIEWS, VIEWS)))
@pytest.mark.parametrize("death", ["letters", "rows", "checkpoint"])
@pytest.mark.parametrize("version", ["", "old", "new"])
def test_no_event_is_lost_whatever_two_releases_make_of_it(
    before: Sequence[int], after: Sequence[int], death: str, version: str
) -> None:
    """Wherever the first was killed; a row is there once. With the same version, it is the same release."""
    upgrade = Upgrade()
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


def test_a_release_that_is_killed_after_its_upgrade_goes_on_under_its_own_names() -> None:
    """Killed again between its dead letters and its rows, it writes neither twice."""
    upgrade = Upgrade()
    upgrade.dies_before("rows", "old", dead=(2,))
    upgrade.dies_before("rows", "new", dead=(1,))
    upgrade.release("new", dead=(1,))
    assert upgrade.letters.written == {"name": [2], "name.new": [1]}
    assert upgrade.rows.written == {"name.new": [2]}


def test_rows_of_the_earlier_release_are_counted_as_repeated() -> None:
    """They are in the sink already."""
    upgrade = Upgrade()
    upgrade.dies_before_the_checkpoint("old", dead=())
    counted = Counted()
    delivery = Delivery(upgrade.held_lease, upgrade.rows, upgrade.letters, encode_dead_letter, counted, "new")
    delivery.deliver(delivery.resume(batch(())))
    assert (counted.rows, counted.repeated) == (2, 2)
