"""Deliver a batch, then checkpoint it."""

from collections import Counter, deque
from collections.abc import Callable

import pytest

from consumer.decoding import dead_letter_limit
from consumer.errors import BatchRejected, LeaseLost, LeaseStale, RowsRejected, SinkUnavailable
from consumer.leases import Change, WorkerIdentity
from consumer.leases.lease import taken
from consumer.pipeline.batching import Batch, Part, Tally
from consumer.pipeline.delivery import Delivery
from consumer.pipeline.spool import Spool
from consumer.records import Block, DeadLetter, EventLocation, Position, Reason
from consumer.shard.held_lease import HeldLease
from consumer.sinks import Deduplication
from tests.unit.clocks import FakeClock
from tests.unit.fakes import SHARD, Counted, JournalSink, JournalTable, block, encode_dead_letter, held


class Bench:
    """A delivery with its sinks and its lease."""

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

    def encoded(self) -> list[DeadLetter]:
        """Return a list that gets each dead letter before it is encoded."""
        letters: list[DeadLetter] = []

        def encode(letter: DeadLetter) -> bytes:
            letters.append(letter)
            return encode_dead_letter(letter)

        self.delivery._encode_dead_letter = encode
        return letters

    def steal(self) -> None:
        """Let another worker take the lease."""
        [lease] = self.table.scan()
        self.table.write([Change(lease, taken(lease, WorkerIdentity("thief", "x")))])
        del self.journal[-1]


def batch(rows: int, letters: int = 0) -> Batch:
    """Return rows 1 to `rows`, with dead letters if given. The batch ends at 9.0."""
    work: deque[Part] = deque()
    if letters:
        spool = Spool()
        for number in range(1, letters + 1):
            spool.append(Block(b"letter%d\n" % number, 1), 1)
        work.append(Part("name", spool, 0, letters, dead=True))
    spool = Spool()
    spool.append(block(range(1, rows + 1)), 1)
    work.append(Part("name", spool, 0, rows))
    return Batch("name", Position.of(9), work)


def test_dead_letters_are_written_first_then_rows_then_the_checkpoint() -> None:
    """The checkpoint is last, so it never passes an undelivered record (docs/guarantees.md#checkpoint-last)."""
    bench = Bench()
    bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == ["letters letter1", "rows 1,2", "checkpoint 9.0"]
    assert bench.counts.rows == 2


def test_a_sink_that_recognizes_batches_is_prepared_once_before_the_write() -> None:
    """The lease row then has the end and the name of the batch (docs/guarantees.md#two-phase-checkpoints)."""
    bench = Bench(Deduplication.BY_BATCH)
    bench.rows.answers = [SinkUnavailable(), None]
    work = batch(2)
    with pytest.raises(SinkUnavailable):
        bench.delivery.deliver(work)
    bench.delivery.deliver(work)
    assert bench.journal == ["prepare 9.0", "rows 1,2", "rows 1,2", "checkpoint 9.0"]
    assert bench.held_lease.lease.pending is None


def test_a_retry_does_not_write_again_what_is_written() -> None:
    """It continues where the delivery failed."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable(), None]
    work = batch(2, letters=1)
    with pytest.raises(SinkUnavailable):
        bench.delivery.deliver(work)
    assert "checkpoint 9.0" not in bench.journal
    bench.delivery.deliver(work)
    assert bench.journal == ["letters letter1", "rows 1,2", "rows 1,2", "checkpoint 9.0"]


def test_unwritable_dead_letters_delay_the_batch() -> None:
    """Neither rows nor the checkpoint overtake them."""
    bench = Bench()
    bench.letters.answers = [SinkUnavailable()]
    with pytest.raises(SinkUnavailable):
        bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == ["letters letter1"]


def test_rejected_rows_become_dead_letters_before_the_checkpoint() -> None:
    """The sink already has the other rows."""
    bench = Bench()
    bench.rows.answers = [RowsRejected({1: "too odd"}, repeated=1)]
    bench.delivery.deliver(batch(3))
    assert bench.journal == ["rows 1,2,3", "letters sink-rejected:2", "checkpoint 9.0"]
    assert (bench.counts.rows, bench.counts.repeated) == (2, 1)
    assert bench.counts.letters == [Reason.SINK_REJECTED]


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("bisected", [False, True])
def test_the_dead_letter_of_a_rejected_row_has_its_location_and_its_bytes(memory: int | None, bisected: bool) -> None:
    """Both are those of its event, also when the batch is on disk."""
    bench, spool = Bench(), Spool(memory)
    for first in (1, 4):
        lines = b"".join(block([number]).lines for number in range(first, first + 3))
        spool.append(Block(lines, 3, [b"event %d" % number for number in range(first, first + 3)]), 1)
    bench.rows.answers = [RowsRejected({1: "too odd", 5: "odder"})]
    if bisected:
        bench.rows.answers = [BatchRejected("odd")] * 11
    letters = bench.encoded()
    bench.delivery.deliver(Batch("name", Position.of(9), deque([Part("name", spool, 0, 6)])))
    numbers = [1, 2, 3, 4, 5, 6] if bisected else [2, 6]
    locations = [EventLocation("stream", SHARD, number, 0, 0, "key", 0.0) for number in numbers]
    assert [letter.location for letter in letters] == locations
    assert [letter.data for letter in letters] == [b"event %d" % number for number in numbers]
    assert [letter.message for letter in letters] == (["odd"] * 6 if bisected else ["too odd", "odder"])
    spool.close()


def test_a_rejected_batch_is_bisected_down_to_the_invalid_row() -> None:
    """Halves are written in order, each under a separate name."""
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


@pytest.mark.parametrize("bisected", [False, True])
def test_the_dead_letters_of_one_rejected_array_are_limited(monkeypatch: pytest.MonkeyPatch, bisected: bool) -> None:
    """Each holds the whole array; the last one that fits stands for the rest and says for how many."""
    monkeypatch.setattr(dead_letter_limit, "MOST_BYTES", 3_000)
    bench, whole, spool = Bench(), b"x" * 1_000, Spool()
    spool.append(block([1] * 6, whole), 1)
    spool.append(block([2] * 2, b"another"), 1)
    bench.rows.answers = [RowsRejected(dict.fromkeys(range(8), "too odd"))]
    if bisected:
        bench.rows.answers = [BatchRejected("too odd")] * 15
    letters = bench.encoded()
    bench.delivery.deliver(Batch("name", Position.of(9), deque([Part("name", spool, 0, 8)])))
    messages = ["too odd"] * 2 + ["too odd; so are 3 more of this array"] + ["too odd"] * 2
    assert [letter.message for letter in letters] == messages
    assert bench.journal[-1] == "checkpoint 9.0"


def test_bisecting_gives_the_same_names_each_time() -> None:
    """A sink that recognizes batches then recognizes the parts, too."""

    def halves() -> list[str]:
        [whole] = batch(4).work
        left, right = whole.halves()
        return [whole.name, left.name, right.name, *(part.name for part in right.halves())]

    assert halves() == halves()
    assert len(set(halves())) == 5


@pytest.mark.parametrize("repeats", [Deduplication.BY_ROW, Deduplication.BY_BATCH])
def test_nothing_is_written_when_the_lease_may_have_expired(repeats: Deduplication) -> None:
    """The lease is checked before prepare, dead letters, rows and checkpoint.

    See docs/guarantees.md#liveness-by-observation.
    """
    bench = Bench(repeats)
    bench.clock.advance(10.0)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == []


def late(bench: Bench) -> Callable[[], None]:
    """Write rows while the lease expires."""
    return lambda: bench.clock.advance(10.0)


def test_the_lease_is_checked_between_two_writes() -> None:
    """If dead letters took too long, no row is written."""
    bench = Bench()
    bench.letters.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(2, letters=1))
    assert bench.journal == ["letters letter1"]


def test_the_lease_is_checked_before_each_bisected_part() -> None:
    """Bisecting takes time, too."""
    bench = Bench()
    bench.rows.answers = [BatchRejected("no")]
    bench.rows.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(4))
    assert bench.journal == ["rows 1,2,3,4"]


def test_the_lease_is_checked_before_the_checkpoint() -> None:
    """If rows took too long, another worker may hold the lease."""
    bench = Bench()
    bench.rows.before = late(bench)
    with pytest.raises(LeaseStale):
        bench.delivery.deliver(batch(2))
    assert bench.journal == ["rows 1,2"]


def test_a_taken_lease_moves_no_checkpoint() -> None:
    """The condition of the write fails although the clock did not show it."""
    bench = Bench()
    bench.rows.before = bench.steal
    with pytest.raises(LeaseLost):
        bench.delivery.deliver(batch(2))
    assert bench.table.scan()[0].checkpoint != Position.of(9)
    assert bench.held_lease.lost


def test_a_batch_is_counted_when_its_checkpoint_moved() -> None:
    """Neither a write nor a repeated checkpoint counts it again."""
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


def test_a_dropped_batch_is_never_counted() -> None:
    """The next owner decodes and counts it, with its dead letters."""
    bench = Bench()
    work = batch(2, letters=1)
    work.tally = Tally(3, 3, dead_letters=Counter({Reason.NOT_JSON: 1}))
    bench.rows.before = bench.steal
    with pytest.raises(LeaseLost):
        bench.delivery.deliver(work)
    assert (bench.counts.fetched, bench.counts.letters) == (0, [])
