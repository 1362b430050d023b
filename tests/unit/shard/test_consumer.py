"""Consume one leased shard, one step at a time, with a fake clock."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
import structlog

from consumer.errors import (
    IteratorExpired,
    LeaseTableUnavailable,
    OutputClosed,
    PositionUnknown,
    SinkUnavailable,
    StreamUnavailable,
    Throttled,
)
from consumer.leases import Change, NextOwner, Pending, WorkerIdentity, Written
from consumer.leases.lease import taken
from consumer.pipeline.pipeline import Pipeline
from consumer.records import BatchLimits, Decoded, Fetched, Position, Record, Shard, StreamSummary
from consumer.runtime.memory_budget import PATIENCE, SHARE, MemoryBudget
from consumer.shard.consumer import ShardConsumer
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.shard.reader import LEAST_INTERVAL
from consumer.sinks import Deduplication
from consumer.telemetry.metrics import Metrics
from tests.unit.clocks import FakeClock
from tests.unit.fakes import SHARD, JournalSink, block, encode_dead_letter, held

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decode(backlog: deque[Record], after: Position, rows: int) -> Sequence[Decoded]:
    """Make a row of each record, of a large one alone; `skip` is skipped, `boom` raises an error."""
    taken = [backlog.popleft()]
    while backlog and len(taken) < rows and len(backlog[0].data) < 1_000:
        taken.append(backlog.popleft())
    if any(record.data == b"boom" for record in taken):
        raise ZeroDivisionError
    new = [record for record in taken if Position.of(record.sequence) > after]
    if not new:
        return ()
    kept = [record.sequence for record in new if record.data != b"skip"]
    last, skipped = Position.of(new[-1].sequence), ["other"] * (len(new) - len(kept))
    made = block(kept, new[0].data)
    return [Decoded(made, (), skipped, len(new), len(new), 0, new[0].sequence, last, 0.0)]


class Script:
    """A stream with given responses, then empty ones."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.answers: list[Fetched | Exception] = []
        self.during: Callable[[], None] = lambda: None
        self.unknown: list[Position] = []

    def summary(self) -> StreamSummary:
        return StreamSummary("stream", True, NOW, NOW)

    def shards(self) -> Sequence[Shard]:
        return [Shard(SHARD)]

    def open(self, shard_id: str, position: Position) -> str:
        self.journal.append(f"open {position}")
        if position in self.unknown:
            raise PositionUnknown
        return "iterator"

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self.during()
        answer = self.answers.pop(0) if self.answers else Fetched([], "iterator", 0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        pass


def records(*sequences: int, data: bytes = b"x", behind: int = 0, last: bool = False) -> Fetched:
    """Return a response with these records."""
    found = [Record(number, "key", 0.0, data) for number in sequences]
    children = [Shard(name, (SHARD,)) for name in ("child-1", "child-2")] if last else []
    return Fetched(found, None if last else f"after {sequences[-1]}", behind, children, len(found))


class Bench:
    """A shard consumer with everything it uses."""

    def __init__(self, repeats: Deduplication = Deduplication.BY_ROW, **lease: Any) -> None:
        self.journal: list[str] = []
        self.clock = FakeClock()
        self.table, self.held_lease = held(self.journal, self.clock, **lease)
        self.stream = Script(self.journal)
        self.rows = JournalSink("rows", self.journal, repeats)
        self.metrics, self.budget = Metrics(), MemoryBudget(10_000_000)
        letters, limits = JournalSink("letters", self.journal), BatchLimits(rows=2, bytes=1000, age=5.0)
        world = ShardContext(
            stream=self.stream,
            pipeline=Pipeline(self.rows, letters, limits, encode_dead_letter, self.metrics),
            budget=self.budget,
            polling=PollingPolicy(1.0),
            clock=self.clock,
            server_time=lambda: NOW + timedelta(seconds=self.clock.now),
            decoder=lambda _: decode,
            rng=random.Random(1),
            log=structlog.wrap_logger(None, processors=[self.log]),
        )
        self.logged: list[str] = []
        self.dropped_for: list[str] = []
        self.consumer = ShardConsumer(self.held_lease, world, lambda *_: ("child-1", "child-2"))

    def log(self, logger: Any, method: str, event: Any) -> Any:
        self.logged.append(event["event"])
        if event["event"] == "batch.dropped":
            self.dropped_for.append(event["error"])
        raise structlog.DropEvent

    def run(self, steps: int = 20) -> float | None:
        """Step until the next step is not due at once. Return its delay."""
        delay: float | None = 0.0
        while delay is not None and delay < 2 * LEAST_INTERVAL and steps:
            self.clock.advance(delay)
            delay = self.consumer.step(self.clock())
            steps -= 1
        return delay

    @property
    def done(self) -> list[str]:
        """Return what was written."""
        return [line for line in self.journal if not line.startswith("open")]


def test_full_batches_are_delivered_and_the_rest_waits_for_its_age() -> None:
    """Two rows make a batch here, and the third is delivered five seconds later."""
    bench = Bench()
    bench.stream.answers = [records(1, 2, 3)]
    assert bench.run() == pytest.approx(1.0)
    assert bench.done == ["rows 1,2", "checkpoint 2.0"]
    bench.clock.advance(5.0)
    bench.run()
    assert bench.done[2:] == ["rows 3", "checkpoint 3.0"]


def test_it_reads_at_once_when_behind_and_once_a_second_at_the_tip() -> None:
    """It never exceeds AWS's limit of five reads per second."""
    bench = Bench()
    bench.stream.answers = [records(1, behind=60_000), records(2, behind=0)]
    first = bench.consumer.step(bench.clock())
    assert first == 0.0
    assert bench.consumer.step(bench.clock()) == 0.0  # decodes
    assert bench.consumer.step(bench.clock()) == pytest.approx(LEAST_INTERVAL)  # may not read yet
    bench.clock.advance(LEAST_INTERVAL)
    bench.run()
    assert bench.done == ["rows 1,2", "checkpoint 2.0"]


def test_skipped_records_move_the_checkpoint_at_the_age_of_the_batch() -> None:
    """Nothing is written, and nothing is read twice."""
    bench = Bench()
    bench.stream.answers = [records(1, data=b"skip")]
    bench.run()
    bench.clock.advance(5.0)
    bench.run()
    assert bench.done == ["checkpoint 1.0"]
    assert bench.metrics.skipped == {"other": 1}


def test_an_expired_iterator_is_opened_again_after_the_last_fetched_record() -> None:
    """The buffer stays, and the record at that position is not taken twice."""
    bench = Bench()
    bench.stream.answers = [records(1), IteratorExpired(), records(1, 2)]
    bench.run()
    bench.clock.advance(1.0)
    bench.run()
    assert bench.journal == ["open TRIM_HORIZON", "open 1.0", "rows 1,2", "checkpoint 2.0"]


@pytest.mark.parametrize("error", [StreamUnavailable(), Throttled()])
def test_a_failing_stream_is_retried_with_growing_waits(error: Exception) -> None:
    """Retries never end, and reading continues after the failure."""
    bench = Bench()
    bench.stream.answers = [error] * 5 + [records(1, 2)]
    waits: list[float] = []
    while bench.stream.answers:
        left = len(bench.stream.answers)
        delay = bench.consumer.step(bench.clock())
        assert delay is not None
        if len(bench.stream.answers) < left:
            waits.append(delay)
        bench.clock.advance(delay)
        bench.held_lease.began(bench.clock())
    bench.run()
    assert waits[4] > 2 * waits[0]
    assert bench.done == ["rows 1,2", "checkpoint 2.0"]


def test_a_failing_sink_gets_the_same_batch_until_it_accepts_it() -> None:
    """No record is fetched meanwhile, which is the back-pressure."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable()] * 3
    bench.stream.answers = [records(1, 2), records(3)]
    for _ in range(30):
        delay = bench.consumer.step(bench.clock())
        bench.clock.advance(min(delay or 0.0, 1.0))
        bench.held_lease.began(bench.clock())
        if "checkpoint 2.0" in bench.journal:
            break
        assert len(bench.stream.answers) <= 1
    assert bench.done == ["rows 1,2"] * 4 + ["checkpoint 2.0"]


def test_a_defect_halts_one_shard_which_restarts_at_its_checkpoint() -> None:
    """The lease is kept. The log has the location, not the text of the error (docs/guarantees.md#isolation)."""
    bench = Bench()
    bench.stream.answers = [records(1, 2), records(3, data=b"boom"), records(3)]
    bench.run()
    bench.clock.advance(1.0)
    bench.run()
    assert "shard.halted" in bench.logged
    assert not bench.consumer.over
    bench.clock.advance(30.0)
    bench.held_lease.began(bench.clock())
    bench.run()
    assert "open 2.0" in bench.journal


def test_a_lasting_defect_is_retried_with_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read succeeds, but that alone is no progress."""
    bench = Bench()
    halted = bench.consumer.failures.unforeseen

    def noted(error: Exception) -> float:
        waits.append(halted(error))
        return waits[-1]

    monkeypatch.setattr(bench.consumer.failures, "unforeseen", noted)
    bench.stream.answers = [records(1, data=b"boom") for _ in range(6)]
    waits: list[float] = []
    while bench.stream.answers or len(waits) < 6:
        delay = bench.consumer.step(bench.clock())
        assert delay is not None
        bench.clock.advance(delay)
        bench.held_lease.began(bench.clock())
    assert waits[4] > 2 * waits[0]
    assert bench.logged.count("shard.halted") == 1  # fewer lines than failures


def test_the_end_of_a_shard_delivers_the_rest_before_it_is_checkpointed() -> None:
    """SHARD_END comes last, with the children."""
    bench = Bench()
    bench.stream.answers = [records(1, last=True)]
    assert bench.run() is None
    assert bench.done == ["rows 1", "checkpoint 1.0", "checkpoint SHARD_END"]
    assert bench.held_lease.lease.children == ("child-1", "child-2")
    assert bench.consumer.over


def test_a_handoff_delivers_before_it_releases() -> None:
    """The next owner has nothing to repeat."""
    bench = Bench()
    bench.stream.answers = [records(1)]
    bench.run()
    bench.consumer.hand_off(None)
    assert bench.run() is None
    assert bench.done == ["rows 1", "checkpoint 1.0", "owner None"]


def leave(bench: Bench, seconds: float, next_owner: NextOwner | None = None) -> list[float]:
    """Drain for `seconds` while the lease is renewed. Return the delays."""
    until = bench.clock() + seconds
    bench.consumer.hand_off(next_owner, until)
    waits: list[float] = []
    while (delay := bench.consumer.step(bench.clock())) is not None and bench.clock() < until + 30.0:
        waits.append(delay)
        bench.clock.advance(delay)
        bench.held_lease.began(bench.clock())
    return waits


@pytest.mark.parametrize("failures", [1, 5])
def test_a_drain_retries_a_failing_sink_while_time_remains(failures: int) -> None:
    """The waits are short, and after the sink recovers nothing is left."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable()] * (1 + failures)
    bench.stream.answers = [records(1, 2)]
    for _ in range(3):
        bench.consumer.step(bench.clock())
    waits = leave(bench, 25.0)
    assert bench.done == ["rows 1,2"] * (2 + failures) + ["checkpoint 2.0", "owner None"]
    assert max(waits) <= 0.5
    assert not bench.consumer.undelivered


def test_a_drain_with_a_sink_that_stays_down_releases_the_lease_at_its_end() -> None:
    """The next owner delivers, and the process exits with 3."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable("no space left")] * 200
    bench.stream.answers = [records(1, 2)]
    bench.run(steps=3)
    until = bench.clock() + 20.0
    leave(bench, 20.0)
    assert bench.done[-1] == "owner None"
    assert until <= bench.clock() < until + 1.0
    assert bench.logged.count("batch.dropped") == 1
    assert bench.consumer.undelivered
    assert bench.held_lease.lease.checkpoint != Position.of(2)


@pytest.mark.parametrize(("sub_sequence", "undelivered"), [(-1, True), (0, False)])
def test_the_record_of_the_checkpoint_may_be_undelivered(sub_sequence: int, undelivered: bool) -> None:
    """A reset to a time puts the checkpoint before the first user record of a record."""
    bench = Bench(checkpoint=Position.of(1, sub_sequence))
    bench.rows.answers = [SinkUnavailable()] * 200
    bench.stream.answers = [records(1)]
    bench.run(steps=3)
    leave(bench, 20.0)
    assert bench.consumer.undelivered == undelivered


def test_a_drain_delivers_fetched_records_that_are_not_decoded() -> None:
    """One response had five records, and a batch holds two."""
    bench = Bench()
    bench.stream.answers = [records(1, 2, 3, 4, 5)]
    bench.consumer.step(bench.clock())
    leave(bench, 25.0)
    written = ["rows 1,2", "checkpoint 2.0", "rows 3,4", "checkpoint 4.0", "rows 5", "checkpoint 5.0", "owner None"]
    assert bench.done == written
    assert not bench.consumer.undelivered


@pytest.mark.parametrize("takes", [0.0, 3.0])
def test_a_batch_whose_checkpoint_failed_repeats_only_the_checkpoint(takes: float) -> None:
    """This also holds during a handoff and after its deadline, because the rows are written."""
    bench = Bench(Deduplication.APPENDS)
    bench.stream.answers = [records(1)]
    bench.run()
    bench.rows.before = lambda: bench.clock.advance(takes)
    refuse_checkpoints(bench, 3)
    leave(bench, 2.0, NextOwner("peer"))
    assert bench.done == ["rows 1", "refused", "refused", "refused", "checkpoint 1.0", "owner peer"]


def refuse_checkpoints(bench: Bench, times: int) -> None:
    """Let this many checkpoint writes fail."""
    real, left = bench.table.write, [None] * times

    def write(changes: Sequence[Change]) -> Sequence[Written]:
        if left and any(change.after.checkpoint != change.before.checkpoint for change in changes):
            left.pop()
            bench.journal.append("refused")
            raise LeaseTableUnavailable
        return real(changes)

    bench.table.write = write  # type: ignore[method-assign]


def test_a_stale_lease_does_not_drop_the_batch_while_draining() -> None:
    """A renewal restores it, and the batch is delivered."""
    bench = Bench()
    bench.stream.answers = [records(1)]
    bench.run()
    bench.clock.advance(11.0)  # the lease may have expired
    bench.consumer.hand_off(None, bench.clock() + 25.0)
    assert all(bench.consumer.step(bench.clock()) for _ in range(3))
    assert bench.done == []
    bench.held_lease.began(bench.clock())
    bench.run()
    assert bench.done == ["rows 1", "checkpoint 1.0", "owner None"]
    assert "batch.dropped" not in bench.logged


def test_a_batch_dropped_for_a_lost_lease_does_not_count_as_left() -> None:
    """The new owner delivers it."""
    bench = Bench()
    bench.stream.answers = [records(1)]
    bench.run()
    [lease] = bench.table.scan()
    bench.table.write([Change(lease, taken(lease, WorkerIdentity("thief", "x")))])
    leave(bench, 25.0)
    assert bench.consumer.over
    assert not bench.consumer.undelivered


def test_a_shard_that_is_halted_at_the_end_leaves_its_fetched_records() -> None:
    """The defect comes before them."""
    bench = Bench()
    bench.stream.answers = [records(1, data=b"boom")]
    bench.run()
    leave(bench, 25.0)
    assert bench.done == ["owner None"]
    assert bench.consumer.undelivered


def test_repeated_requests_of_a_peer_do_not_delay_the_handoff() -> None:
    """Each scan reports the request again."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable()] * 200
    bench.stream.answers = [records(1, 2)]
    bench.run(steps=3)
    began = bench.clock()
    while bench.clock() < began + 60.0:
        bench.consumer.hand_off(NextOwner("peer"), bench.clock() + 10.0)
        if (delay := bench.consumer.step(bench.clock())) is None:
            break
        bench.clock.advance(delay)
        bench.held_lease.began(bench.clock())
    assert bench.done[-2:] == ["rows 1,2", "owner peer"]
    assert bench.clock() - began == pytest.approx(10.0, abs=1.0)


def test_a_drain_waits_between_attempts_while_the_table_fails() -> None:
    """It must not loop without a pause."""
    bench = Bench()
    bench.table.write = Mock(side_effect=LeaseTableUnavailable)  # type: ignore[method-assign]
    bench.consumer.hand_off(None)
    delays = [bench.consumer.step(bench.clock()) for _ in range(8)]
    assert all(delay is not None and 0.05 < delay <= 0.5 for delay in delays)
    assert "batch.dropped" not in bench.logged


def test_after_a_long_outage_a_retry_follows_within_seconds() -> None:
    """The shard must not wait half a minute after the outage."""
    bench = Bench()
    bench.stream.answers = [Throttled() for _ in range(12)]
    delays = []
    for _ in range(12):
        delays.append(bench.consumer.step(bench.clock()))
        bench.clock.advance(10.0)
        bench.held_lease.began(bench.clock())
    assert max(delay or 0.0 for delay in delays) <= 5.0


def test_a_lease_that_may_have_expired_delivers_nothing_and_keeps_the_batch() -> None:
    """A renewal restores it."""
    bench = Bench()
    bench.stream.answers = [records(1, 2)]
    bench.consumer.step(bench.clock())
    bench.consumer.step(bench.clock())
    bench.clock.advance(11.0)
    assert bench.run(steps=5) is not None
    assert bench.done == []
    bench.held_lease.began(bench.clock())
    bench.clock.advance(1.0)
    bench.run()
    assert bench.done == ["rows 1,2", "checkpoint 2.0"]


def test_a_closed_output_ends_the_run_and_the_next_step_releases_the_lease() -> None:
    """The checkpoint never passes an unwritten row."""
    bench = Bench()
    bench.rows.answers = [OutputClosed("closed by its reader")]
    bench.stream.answers = [records(1, 2)]
    with pytest.raises(OutputClosed):
        bench.run()
    assert bench.run() is None
    assert bench.done == ["rows 1,2", "owner None"]
    assert bench.dropped_for == ["closed by its reader"]


def test_a_batch_dropped_because_the_run_failed_has_a_reason_in_the_log() -> None:
    """There was enough time to deliver."""
    bench = Bench()
    bench.stream.answers = [records(1, 2)]
    bench.run(steps=2)
    bench.consumer.discard("standard output was closed by its reader")
    assert bench.run() is None
    assert bench.dropped_for == ["standard output was closed by its reader"]


def test_a_prepared_batch_ends_at_the_same_record_whatever_the_limits() -> None:
    """Its name is in the row (docs/guarantees.md#two-phase-checkpoints)."""
    bench = Bench(Deduplication.BY_BATCH, pending=Pending(Position.of(4), "name"))
    bench.stream.answers = [records(1, 2, 3), records(4, 5, 6)]
    bench.run()
    assert bench.done[:2] == ["rows 1,2,3,4", "checkpoint 4.0"]


@pytest.mark.parametrize(
    ("end", "there", "batch", "checkpoint"),
    [(1, (1, 2, 3), "1", 1), (3, (1, 2, 3, 4), "1,2,3", 3), (2, (1, 3, 4), "1,3", 3)],
    ids=["before the limit", "after it", "the last record is trimmed"],
)
def test_a_prepared_batch_has_no_record_after_its_end(
    end: int, there: Sequence[int], batch: str, checkpoint: int
) -> None:
    """Its file has this content. Only a record that the stream no longer has is replaced by the next one."""
    bench = Bench(Deduplication.BY_BATCH, pending=Pending(Position.of(end), "name"))
    bench.stream.answers = [records(*there)]
    bench.run()
    assert bench.done[:2] == [f"rows {batch}", f"checkpoint {checkpoint}.0"]


def test_a_drain_before_the_prepared_end_drops_the_buffer() -> None:
    """Half a batch under the name of a whole one would lose records."""
    bench = Bench(Deduplication.BY_BATCH, pending=Pending(Position.of(4), "name"))
    bench.stream.answers = [records(1, 2, 3)]
    bench.run(steps=3)
    bench.consumer.hand_off(None)
    assert bench.run() is None
    assert bench.done == ["owner None"]
    assert bench.table.scan()[0].pending == Pending(Position.of(4), "name")
    assert bench.dropped_for == ["the stream has not shown the rest of a batch that was prepared earlier"]


def test_a_read_under_way_does_not_delay_the_end() -> None:
    """The lease is released meanwhile, and the records of that read are not delivered."""
    bench = Bench()
    bench.stream.answers = [records(1, 2)]
    bench.stream.during = bench.consumer.cancel_read
    assert bench.run() is None
    assert bench.done == ["owner None"]
    assert bench.consumer.over


@pytest.mark.parametrize(
    ("seconds", "done"), [(25.0, ["rows 1,2", "checkpoint 2.0", "owner None"]), (0.0, ["owner None"])]
)
def test_a_read_under_way_is_waited_for_while_rows_wait_after_it(seconds: float, done: list[str]) -> None:
    """Otherwise they would be left undelivered."""
    bench = Bench()
    bench.stream.answers = [records(1)]
    bench.run()
    bench.stream.answers = [records(2)]

    def leave_now() -> None:
        bench.consumer.hand_off(None, bench.clock() + seconds)
        bench.consumer.cancel_read()

    bench.stream.during = leave_now
    bench.clock.advance(1.0)
    bench.run()
    assert bench.done == done
    assert bench.consumer.undelivered is (seconds == 0.0)


def test_cancelling_reads_does_nothing_between_two_reads() -> None:
    """A batch that is being written keeps its lease."""
    bench = Bench()
    bench.rows.before = bench.consumer.cancel_read
    bench.stream.answers = [records(1, 2)]
    bench.run()
    assert bench.done == ["rows 1,2", "checkpoint 2.0"]


def test_a_shard_without_budget_waits_and_the_largest_delivers_early() -> None:
    """The largest holder delivers before its batch is full or old (docs/guarantees.md#bounded-memory)."""
    bench = Bench()
    bench.stream.answers = [records(1)]
    bench.run()
    assert bench.done == []
    assert not bench.budget.reserve("other", 20_000_000)
    bench.run()
    assert bench.done == ["rows 1", "checkpoint 1.0"]


def test_read_to_is_written_only_when_all_earlier_records_are_delivered() -> None:
    """Peers with --until-caught-up rely on it."""
    bench = Bench()
    bench.stream.answers = [records(1)]
    bench.run()
    assert bench.held_lease.read_to is None
    bench.clock.advance(5.0)
    bench.run()
    assert bench.held_lease.read_to is not None


def test_buffered_records_are_not_counted() -> None:
    """The summary counts delivered records."""
    bench = Bench()
    bench.stream.answers = [records(1, 2, 3)]
    bench.run()
    found = bench.metrics.summary()
    assert (found["fetched"], found["user_records"], found["written"]) == (2, 2, 2)


def test_a_record_decoded_again_after_a_defect_counts_once() -> None:
    """The shard returns to its checkpoint and decodes the buffer again."""
    bench = Bench()
    bench.stream.answers = [records(1), records(2, data=b"boom"), records(1, 2, data=b"skip")]
    while bench.metrics.summary()["fetched"] == 0:
        bench.clock.advance(1.0)
        bench.held_lease.began(bench.clock())
        bench.consumer.step(bench.clock())
    assert "shard.halted" in bench.logged
    found = bench.metrics.summary()
    assert (found["fetched"], found["user_records"], found["skipped"]) == (2, 2, 2)


def test_records_trimmed_unread_are_reported() -> None:
    """The row was read to an instant before the retention, and its checkpointed record is not returned."""
    bench = Bench(checkpoint=Position.of(5), read_to=NOW - timedelta(days=3))
    bench.stream.answers = [records(9)]
    bench.run()
    assert bench.logged.count("shard.trimmed") == 1
    assert bench.metrics.trimmed_times == 1
    assert bench.metrics.trimmed_seconds == pytest.approx(2 * 86_400, abs=2000)


def test_a_quiet_shard_whose_checkpointed_record_is_trimmed_reports_no_loss() -> None:
    """No record arrived since it was last read."""
    bench = Bench(checkpoint=Position.of(5), read_to=NOW)
    bench.stream.answers = [records(9)]
    bench.run()
    assert "shard.trimmed" not in bench.logged


def test_a_trimmed_checkpoint_is_read_past_without_repeats() -> None:
    """Reading starts at the oldest record, and skips delivered ones."""
    bench = Bench(checkpoint=Position.of(5), read_to=NOW)
    bench.stream.unknown = [Position.of(5)]
    bench.stream.answers = [records(4, 5, 6, 7)]
    bench.run()
    assert bench.journal[:2] == ["open 5.0", "open TRIM_HORIZON"]
    assert bench.done == ["rows 6,7", "checkpoint 7.0"]


def test_a_rejected_instant_is_retried() -> None:
    """Starting at the oldest record would read too much."""
    bench = Bench(started_at=NOW)
    bench.stream.unknown = [Position.at_timestamp(NOW)]
    bench.run(steps=1)
    assert bench.journal == [f"open {Position.at_timestamp(NOW)}"]


def test_the_time_until_unread_records_expire_is_known_before_the_first_read() -> None:
    """It comes from the row."""
    bench = Bench(read_to=NOW)
    assert bench.metrics.shards[SHARD].unread_expires_at is not None


def test_a_borrower_with_a_stuck_sink_keeps_only_its_share() -> None:
    """Its rows go to disk, undecoded records are fetched again, and the next shard may borrow."""
    bench = Bench()
    bench.rows.answers = [SinkUnavailable("down")]
    bench.budget.settle("stuck", 10_000_000)
    assert not any(bench.budget.reserve(SHARD, 1) for _ in range(PATIENCE))
    bench.stream.answers = [records(1, 2, 3, data=b"x" * 3 * SHARE), records(3)]
    bench.run(steps=3)
    assert not bench.budget.has_loan(SHARD)
    assert bench.budget.held() <= 10_000_000 + SHARE
    bench.budget.settle("stuck", 0)
    for _ in range(3):
        bench.clock.advance(5.0)
        bench.held_lease.began(bench.clock())
        bench.run()
    assert bench.journal.count("open 2.0") == 1
    assert bench.done == ["rows 1,2", "rows 1,2", "checkpoint 2.0", "rows 3", "checkpoint 3.0"]
