"""Bring dead letters home, each once, also after a kill and beside the worker."""

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumer.dead_letters.attempt import attempt
from consumer.dead_letters.checkpoints import Checkpoints
from consumer.dead_letters.ledger import opened as opened_ledger
from consumer.dead_letters.ledger import read_only
from consumer.dead_letters.redrive import Destination, Redrive, State
from consumer.dead_letters.refetch import StreamAgain
from consumer.dead_letters.selection import Selection
from consumer.decoding.deaggregation import aggregate
from consumer.errors import BatchRejected, ConfigurationError, Retryable, SinkUnavailable
from consumer.leases import Lease
from consumer.records import SHARD_END, BatchLimits, Position
from consumer.sinks import Deduplication
from consumer.streams.memory import MemoryStream
from tests.events import event_ids, numbered_event
from tests.unit.dead_letters.letters import SHARD, STREAM, letter, opened, put, rows_of, sink

PASSED = Checkpoints([Lease(SHARD, Position.of(1_000))])


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Wrapped:
    """A sink that calls `before` and `after` around each write of another one."""

    sink: Any
    before: Callable[[Any], None] = lambda _: None
    after: Callable[[Any], None] = lambda _: None
    limits: BatchLimits = field(default_factory=BatchLimits)
    writes: int = 0

    @property
    def repeats(self) -> Deduplication:
        found: Deduplication = self.sink.repeats
        return found

    def check(self) -> None:
        self.sink.check()

    def write(self, batch: Any) -> int:
        self.before(batch)
        self.writes += 1
        repeated: int = self.sink.write(batch)
        self.after(batch)
        return repeated

    def holds(self, name: str) -> bool:
        held: bool = self.sink.holds(name)
        return held

    def close(self) -> None:
        self.sink.close()


@dataclass
class Bench:
    """Dead letters in one place, and a sink in another."""

    place: str
    target: str
    ledger: Path
    version: str = "v1"
    stream: Any = None

    def run(
        self, checkpoints: Checkpoints | None = PASSED, selection: Selection | None = None, **sink_given: Any
    ) -> Mapping[State, int]:
        """Redrive once, as a new process would."""
        wrapped = Wrapped(sink(self.target), **sink_given)
        wrapped.check()
        try:
            with opened_ledger(self.ledger) as ledger:
                return self.redrive(wrapped, checkpoints, selection).run(ledger)
        finally:
            wrapped.close()

    def redrive(self, wrapped: Any, checkpoints: Checkpoints | None, selection: Selection | None = None) -> Redrive:
        """Return the redrive into a sink. Its first failure ends it."""
        destination = Destination(wrapped, self.target, self.version, BatchLimits(rows=4))
        chosen, again = selection or Selection(), StreamAgain(lambda: self.stream, lambda _: None, raised)
        return Redrive(opened(self.place), chosen, checkpoints, attempt, again.complete, destination, raised)


def raised(error: Retryable) -> None:
    raise error


@pytest.fixture(params=["jsonl", "sqlite"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Ten dead letters, and a sink of the same kind: one that recognises batches, and one that recognises rows."""
    place = put(request.param, tmp_path, [letter(number) for number in range(10)])
    target = f"jsonl:{tmp_path}/rows" if request.param == "jsonl" else f"sqlite:{tmp_path}/rows.db"
    return Bench(place, target, tmp_path / "ledger.db")


def test_each_dead_letter_comes_home_once_and_a_second_run_finds_none(bench: Bench) -> None:
    """The ledger knows them. The dead letters stay where they are: a worker may write there."""
    assert bench.run() == {State.REDRIVEN: 10, State.NOT_STORED: 0}
    assert rows_of(bench.target) == event_ids(range(10))
    assert bench.run() == {State.BEFORE: 10}
    assert rows_of(bench.target) == event_ids(range(10))
    assert len(list(opened(bench.place).letters())) == 10


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", range(3))
def test_a_kill_around_any_write_loses_and_repeats_nothing(bench: Bench, moment: str, write: int) -> None:
    """The next run finds the claims, asks a sink that recognises batches, and writes the rest."""
    left, given = [write], dict[str, Any]()

    def kill(_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    given[moment] = kill
    with pytest.raises(Killed):
        bench.run(**given)
    with read_only(bench.ledger) as ledger:
        assert sum(ledger.unfinished(bench.target).values()) in (2, 4)
    done = bench.run()
    assert done[State.REDRIVEN] + done[State.BEFORE] == 10
    assert rows_of(bench.target) == event_ids(range(10))


def test_a_new_decoder_after_a_kill_repeats_nothing(bench: Bench) -> None:
    """Its batches have other names, so the sink is asked for the claimed one before anything is decoded."""

    def kill(_: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        bench.run(after=kill)
    bench.version = "v2"
    bench.run()
    assert rows_of(bench.target) == event_ids(range(10))


def test_a_sink_that_fails_leaves_the_rest_to_the_next_run(bench: Bench) -> None:
    """What is written is in the ledger."""

    def fail(_: Any) -> None:
        raise SinkUnavailable

    wrapped = Wrapped(sink(bench.target))
    wrapped.check()
    wrapped.after = lambda _: setattr(wrapped, "before", fail)
    redrive = bench.redrive(wrapped, PASSED)
    with opened_ledger(bench.ledger) as ledger, pytest.raises(SinkUnavailable):
        redrive.run(ledger)
    assert redrive.counts[State.REDRIVEN] == 4
    assert bench.run()[State.REDRIVEN] == 6
    assert rows_of(bench.target) == event_ids(range(10))


def test_what_the_worker_may_still_write_waits_for_the_checkpoint(bench: Bench) -> None:
    """A worker that was killed before its checkpoint writes the same dead letter again, or the row."""
    at_six = Checkpoints([Lease(SHARD, Position.of(6))])
    assert bench.run(at_six) == {State.REDRIVEN: 7, State.NOT_STORED: 0, State.WAITING: 3}
    assert bench.run(Checkpoints([Lease(SHARD)])) == {State.BEFORE: 7, State.WAITING: 3}
    assert bench.run(Checkpoints([], [SHARD])) == {State.BEFORE: 7, State.WAITING: 3}
    assert bench.run(Checkpoints([Lease(SHARD, SHARD_END)]))[State.REDRIVEN] == 3
    assert rows_of(bench.target) == event_ids(range(10))


def test_a_record_within_an_aggregate_waits_for_its_place_in_it() -> None:
    """A KCL may checkpoint inside an aggregate. A shard whose row was deleted has ended."""
    inside = Checkpoints([Lease(SHARD, Position.of(7, 2))])
    assert [inside.passed(letter(7, sub_sequence_number=sub)) for sub in (1, 2, 3)] == [True, True, False]
    assert inside.passed(letter(7, shard_id="another"))


def test_a_plan_changes_nothing(bench: Bench) -> None:
    """It counts what a run would do."""
    with read_only(bench.ledger) as ledger:
        redrive = bench.redrive(sink(bench.target), PASSED, Selection(until=None, reasons=("sink-rejected",)))
        assert redrive.plan(ledger) == {State.READY: 10}
    assert not bench.ledger.exists()
    assert not Path(bench.target.partition(":")[2]).exists()


def test_only_selected_dead_letters_are_taken(bench: Bench) -> None:
    """By id, or by how it begins."""
    ids = tuple(letter(number).id[:8] for number in (2, 5))
    assert bench.run(selection=Selection(ids=ids, shards=(SHARD,), stream=STREAM))[State.REDRIVEN] == 2
    assert rows_of(bench.target) == event_ids([2, 5])


def test_a_row_that_the_sink_cannot_store_stays_and_the_rest_is_written(bench: Bench) -> None:
    """It is found by halving if the sink does not name it. A later run tries it again."""
    bad = letter(3).id

    def reject(batch: Any) -> None:
        if bad in batch.letters:
            raise BatchRejected("it cannot be stored")

    assert bench.run(before=reject) == {State.REDRIVEN: 9, State.NOT_STORED: 1}
    with read_only(bench.ledger) as ledger:
        [entry] = ledger.entries(bad)
    assert (entry.state, entry.message) == ("rejected", "it cannot be stored")
    assert bench.run()[State.REDRIVEN] == 1
    assert rows_of(bench.target) == event_ids(range(10))


def test_a_kill_while_a_batch_is_halved_repeats_nothing(bench: Bench) -> None:
    """Each half is claimed under its name."""
    bad, seen = letter(3).id, list[Any]()

    def reject(batch: Any) -> None:
        if bad in batch.letters:
            raise BatchRejected("it cannot be stored")

    def kill(batch: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        bench.run(before=reject, after=kill)
    bench.run()
    assert Counter(rows_of(bench.target)) == Counter(event_ids(range(10)))
    assert not seen


def test_one_run_at_a_time_uses_a_ledger(bench: Bench) -> None:
    """Another one would take the same dead letters. Readers are not kept out."""
    with opened_ledger(bench.ledger):
        with pytest.raises(ConfigurationError, match="another redrive is running"):
            bench.run()
        with read_only(bench.ledger) as ledger:
            assert not ledger.entries("x")


def test_each_destination_gets_its_rows(bench: Bench, tmp_path: Path) -> None:
    """A redrive into a wrong sink does not keep the right one from getting them."""
    bench.run()
    bench.target = bench.target.replace("rows", "more")
    assert bench.run()[State.REDRIVEN] == 10
    assert rows_of(bench.target) == event_ids(range(10))


def test_what_cannot_come_home_is_counted_by_its_cause(tmp_path: Path) -> None:
    """Nothing of it is written, and nothing of it is marked as redriven."""
    array = b"[" + numbered_event(5) + b"," + numbered_event(6) + b"]"
    letters = [
        letter(1, b"{}", reason="not-cloudevent"),
        letter(2, numbered_event(2, "com.twilio.other")),
        letter(3, array, reason="internal-error"),
        letter(4, stream_name="another"),
    ]
    bench = Bench(put("jsonl", tmp_path, letters), f"jsonl:{tmp_path}/rows", tmp_path / "ledger.db")
    of_stream = Selection(stream=STREAM)
    expected = {State.REJECTED: 1, State.SKIPPED: 1, State.SEVERAL: 1}
    assert bench.run(selection=of_stream) == bench.run(selection=of_stream) == expected
    bench.target = f"sqlite:{tmp_path}/rows.db"
    assert bench.run(selection=of_stream)[State.REDRIVEN] == 1, "a sink that recognises rows takes all of the array"
    assert rows_of(bench.target) == event_ids([5, 6])


def test_a_dead_letter_that_is_stored_twice_comes_home_once(tmp_path: Path) -> None:
    """A worker that was killed may have written it in two files."""
    bench = Bench(
        put("jsonl", tmp_path, [letter(1), letter(1), letter(2), letter(1)]), f"jsonl:{tmp_path}/rows", tmp_path / "l"
    )
    assert bench.run()[State.REDRIVEN] == 2
    assert rows_of(bench.target) == event_ids([1, 2])


def test_a_batch_lies_in_the_folder_of_the_hour_in_which_its_records_arrived(tmp_path: Path) -> None:
    """Readers find the rows where they would have been."""
    letters = [letter(number, arrived_at=f"2026-11-2{number}T0{number}:59:59.999Z") for number in (1, 2)]
    bench = Bench(put("jsonl", tmp_path, letters), f"jsonl:{tmp_path}/rows", tmp_path / "l")
    bench.run()
    found = sorted(str(file.parent.relative_to(tmp_path / "rows")) for file in tmp_path.rglob("*.jsonl"))
    assert found == ["dt=2026-11-21/hour=01", "dt=2026-11-22/hour=02"]


def test_a_ledger_that_is_none_is_one_line(tmp_path: Path) -> None:
    """The message names it and what to do."""
    (tmp_path / "text").write_bytes(b"no database " * 100)
    with (
        pytest.raises(ConfigurationError, match=r"ledger .*text: the file is not a database"),
        opened_ledger(tmp_path / "text"),
    ):
        pass
    with pytest.raises(ConfigurationError, match="--ledger"), opened_ledger(tmp_path / "missing" / "l"):
        pass
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE x (y)").connection.close()
    with pytest.raises(ConfigurationError, match="no such table"), read_only(tmp_path / "other.db") as ledger:
        ledger.entries("x")


def test_bytes_that_were_left_out_are_read_from_the_stream_again(tmp_path: Path) -> None:
    """As long as it has them. Only the event that failed is taken from its aggregate."""
    stream = MemoryStream(STREAM, shards=1)
    [shard] = stream.shards()
    whole = aggregate([("k", numbered_event(number)) for number in (1, 2, 3)])
    sequences = [stream.put(data, "k") for data in (numbered_event(7), whole)]
    left_out = [
        letter(shard_id=shard.shard_id, sequence_number=str(sequence), sub_sequence_number=sub)
        for sequence, sub in ((sequences[0], 0), (sequences[1], 1), (1, 0))
    ]
    place = put("jsonl", tmp_path, [msgspec.structs.replace(each, data=None) for each in left_out])
    bench = Bench(place, f"sqlite:{tmp_path}/rows.db", tmp_path / "l", stream=stream)
    with read_only(bench.ledger) as ledger:
        assert bench.redrive(sink(bench.target), None).plan(ledger) == {State.NO_DATA: 3}
    assert bench.run(None) == {State.REDRIVEN: 2, State.NOT_STORED: 0, State.GONE: 1}
    assert rows_of(bench.target) == event_ids([2, 7])


def test_what_a_killed_process_left_in_the_middle_of_a_transaction_is_undone(tmp_path: Path) -> None:
    """Reading must do so, too: the plan is made before the ledger is opened for writing."""
    bench = Bench(put("sqlite", tmp_path, [letter(1)]), f"jsonl:{tmp_path}/rows", tmp_path / "l")
    bench.run()
    for file, table in ((tmp_path / "l", "redrives"), (tmp_path / "letters.db", "dead_letters")):
        subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file), table], check=False)
        assert file.with_name(f"{file.name}-journal").exists()
    with read_only(bench.ledger) as ledger:
        assert ledger.written(letter(1).id, bench.target)
        assert bench.redrive(sink(bench.target), PASSED).plan(ledger) == {State.BEFORE: 1}


KILLED_WHILE_WRITING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=DELETE")
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute(f"DELETE FROM {sys.argv[2]}")
connection.execute("CREATE TABLE filler (x)")
connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 50)
os._exit(9)
"""
