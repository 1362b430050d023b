"""From a batch to the checkpoint behind it, in this order and no other."""

from collections import Counter, deque
from collections.abc import Callable

import pytest

from consumer.errors import BatchRejected, LeaseLost, LeaseStale, RowsRejected, SinkUnavailable
from consumer.leases import Change, WorkerIdentity
from consumer.leases.lease import taken
from consumer.pipeline.batching import Batch, Chunk, Tally
from consumer.pipeline.delivery import Delivery
from consumer.pipeline.spool import EncodedDeadLetter, Spool
from consumer.records import Position, Reason
from consumer.shard.held_lease import HeldLease
from consumer.sinks import Deduplication
from tests.unit.clocks import FakeClock
from tests.unit.fakes import Counted, JournalSink, JournalTable, encode_dead_letter, held, row


class Bench:
    """A delivery with all that it talks to."""

    def __init__(self, repeats: Deduplication = Deduplication.BY_ROW) -> None:
        self.journal: list[str] = []
        self.clock = FakeClock()
        self.counts = Counted()
        self.table: JournalTable
        self.held_lease: HeldLease
        self.table, self.held_lease = held(self.journal, self.clock)
        self.rows = JournalSink("rows", self.journal, repeats)
        self.letters = JournalSink("letters", self.journal, Deduplication.BY_ROW)
        self.delivery = Delivery(self.held_lease, self.rows, self.letters, encode_dead_letter, self.counts)

    def steal(self) -> None:
        """Another worker takes the lease."""
        [lease] = self.table.scan()
        self.table.write([Change(lease, taken(lease, WorkerIdentity("thief", "x")))])
        del self.journal[-1]


def batch(rows: int, letters: int = 0) -> Batch:
    """Rows 1 to `rows`, ending at 9.0, with dead letters if told."""
    work: deque[Chunk] = deque()
    for count, dead in ((letters, True), (rows, False)):
        spool = Spool()
        for number in range(1, count + 1):
            item = EncodedDeadLetter(f"letter{number}".encode(), row(number).location) if dead else row(number)
            spool.append(item, 1)
        if count:
            work.append(Chunk("name", spool, 0, count, dead))
    return Batch("name", Position.of(9), work)


def test_dead_letters_first_then_rows_then_the_checkpoint() -> None:
    """A checkpoint is the last thing, so it never passes anything undelivered (rule 1)."""
    bench = Bench()
    bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == ["letters letter1", "rows 1,2", "checkpoint 9.0"]
    assert bench.counts.rows == 2


def test_a_sink_by_batch_is_prepared_for_before_it_is_written_to() -> None:
    """The end and the name are in the row first (rule 7); once is enough."""
    bench = Bench(Deduplication.BY_BATCH)
    bench.rows.answers = [SinkUnavailable(), None]
    work = batch(2)
    with pytest.raises(SinkUnavailable):
        bench.delivery.deliver(work)
    bench.delivery.deliver(work)
    assert bench.journal == ["prepare 9.0", "rows 1,2", "rows 1,2", "checkpoint 9.0"]
    assert bench.held_lease.lease.pending is None


def test_what_is_written_is_not_written_again_by_the_next_try() -> None:
    """A delivery that failed goes on where it failed."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable(), None]
    work = batch(2, letters=1)
    with pytest.raises(SinkUnavailable):
        bench.delivery.deliver(work)
    assert "checkpoint 9.0" not in bench.journal
    bench.delivery.deliver(work)
    assert bench.journal == ["letters letter1", "rows 1,2", "rows 1,2", "checkpoint 9.0"]


def test_dead_letters_that_cannot_be_written_keep_the_shard_waiting() -> None:
    """No row and no checkpoint before them."""
    bench = Bench()
    bench.letters.answers = [SinkUnavailable()]
    with pytest.raises(SinkUnavailable):
        bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == ["letters letter1"]


def test_rejected_rows_become_dead_letters_before_the_checkpoint() -> None:
    """The sink has the rest already."""
    bench = Bench()
    bench.rows.answers = [RowsRejected({1: "too odd"}, repeated=1)]
    bench.delivery.deliver(batch(3))
    assert bench.journal == ["rows 1,2,3", "letters sink-rejected:2", "checkpoint 9.0"]
    assert (bench.counts.rows, bench.counts.repeated) == (2, 1)
    assert bench.counts.letters == [Reason.SINK_REJECTED]


def test_a_rejected_batch_is_bisected_to_the_one_row() -> None:
    """In order, each half under a name of its own, the rest written."""
    bench = Bench()
    bench.rows.answers = [BatchRejected("no"), None, BatchRejected("no"), BatchRejected("no"), None]
    bench.delivery.deliver(batch(4))
    assert bench.journal == [
        "rows 1,2,3,4",
        "rows 1,2",
        "rows 3,4",
        "rows 3",
        "letters sink-rejected:3",
        "rows 4",
        "checkpoint 9.0",
    ]
    assert bench.counts.rows == 3


def test_halves_have_the_same_names_whenever_they_are_made() -> None:
    """A sink by batch recognises the parts too."""

    def halves() -> list[str]:
        [chunk] = batch(4).work
        left, right = chunk.halves()
        return [chunk.name, left.name, right.name, *(part.name for part in right.halves())]

    assert halves() == halves()
    assert len(set(halves())) == 5


@pytest.mark.parametrize("repeats", [Deduplication.BY_ROW, Deduplication.BY_BATCH])
def test_nothing_is_written_once_the_lease_may_have_run_out(repeats: Deduplication) -> None:
    """It is asked before each write: prepare, letters, rows, checkpoint (rule 3)."""
    bench = Bench(repeats)
    bench.clock.advance(10.0)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == []


def late(bench: Bench) -> Callable[[], None]:
    """A write during which the lease runs out."""
    return lambda: bench.clock.advance(10.0)


def test_the_lease_is_asked_for_again_between_two_writes() -> None:
    """Dead letters took too long: no row is written after them."""
    bench = Bench()
    bench.letters.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == ["letters letter1"]


def test_the_lease_is_asked_for_again_before_each_bisected_part() -> None:
    """Halving takes time too."""
    bench = Bench()
    bench.rows.answers = [BatchRejected("no")]
    bench.rows.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(4))
    assert bench.journal == ["rows 1,2,3,4"]


def test_the_lease_is_asked_for_again_before_the_checkpoint() -> None:
    """Rows took too long: somebody else may be on them."""
    bench = Bench()
    bench.rows.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(2))
    assert bench.journal == ["rows 1,2"]


def test_a_lease_taken_meanwhile_moves_no_checkpoint() -> None:
    """The condition of the write finds out what the clock did not."""
    bench = Bench()
    bench.rows.before = bench.steal
    with pytest.raises(LeaseLost):
        bench.delivery.deliver(batch(2))
    assert bench.table.scan()[0].checkpoint != Position.of(9)
    assert bench.held_lease.lost


def test_a_batch_is_counted_once_its_checkpoint_has_moved() -> None:
    """Not when it is written, nor again when only the checkpoint is made again."""
    bench = Bench()
    work = batch(3)
    work.tally = Tally(3, 4, 1, Counter(["other"]), Counter({Reason.NOT_JSON: 2}))
    bench.rows.answers = [RowsRejected({1: "too odd"})]
    bench.rows.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(work)
    assert (bench.counts.fetched, bench.counts.letters) == (0, [])
    bench.held_lease.began(bench.clock())
    bench.delivery.deliver(work)
    assert (bench.counts.fetched, bench.counts.skipped, bench.counts.rows) == (3, ["other"], 2)
    assert sorted(reason.value for reason in bench.counts.letters) == ["not-json", "not-json", "sink-rejected"]


def test_a_batch_that_is_dropped_is_never_counted() -> None:
    """The next owner decodes and counts it; its dead letters too."""
    bench = Bench()
    work = batch(2, letters=1)
    work.tally = Tally(3, 3, dead_letters=Counter({Reason.NOT_JSON: 1}))
    bench.rows.before = bench.steal
    with pytest.raises(LeaseLost):
        bench.delivery.deliver(work)
    assert (bench.counts.fetched, bench.counts.letters) == (0, [])
