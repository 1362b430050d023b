"""Check that the stub of the benchmarks responds as Kinesis does."""

import importlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity import Measured, fleet
from benchmarks.comparison import Runs, check, figures_of
from benchmarks.events import STREAM, events
from benchmarks.figures import Figure, as_json
from benchmarks.processes import Cost
from benchmarks.profile import STEPS, Clocks
from benchmarks.stub import HISTORY, Faults, Stub, bake
from consumer.decoding.decoder import Decoder
from consumer.errors import IteratorExpired, ShardGone, Throttled
from consumer.records import LATEST, TRIM_HORIZON, Position, Record, Shard
from consumer.streams.kinesis import KinesisStream, kinesis_client
from tests.events import lines

BEGAN = 1.7e9
SHARD = "shardId-000000000001"


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[KinesisStream]:
    """Return our own client for a stub of two shards with 40 events each and 7 records per response."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    per_record = getattr(request, "param", 1)
    with Stub(bake(2, 80, per_record, BEGAN), 7, BEGAN) as stub:
        serving = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        reader = KinesisStream(STREAM, kinesis_client(STREAM, "us-east-1", stub.url, 2))
        yield reader
        reader.close()
        stub.shutdown()
        serving.join()


def read(stream: KinesisStream, position: Position, answers: int = 100) -> list[Record]:
    """Return the records of a shard after a position."""
    iterator: str | None = stream.open(SHARD, position)
    records: list[Record] = []
    while answers and iterator:
        fetched = stream.fetch(iterator, 10_000)
        records += fetched.records
        iterator, answers = fetched.next_iterator, answers - 1
        if not fetched.records and not fetched.millis_behind:
            break
    return records


def test_the_stub_describes_the_stream_and_lists_its_shards(stream: KinesisStream) -> None:
    """The shards share the hash range, and the stream is active."""
    shards = stream.shards()
    assert stream.summary().active
    assert [shard.shard_id for shard in shards] == ["shardId-000000000000", SHARD]
    assert shards[0].hash_range[0] == 0
    assert shards[1].hash_range == (shards[0].hash_range[1] + 1, 2**128 - 1)


def test_each_kind_of_position_opens_at_the_right_record(stream: KinesisStream) -> None:
    """Kinds are oldest, tip, sequence number (which is returned again) and time."""
    everything = read(stream, TRIM_HORIZON)
    arrived = everything[10].arrived_at
    assert len(everything) == 40
    assert read(stream, LATEST) == []
    assert read(stream, Position.of(everything[33].sequence)) == everything[33:]
    assert read(stream, Position.at_timestamp(datetime.fromtimestamp(arrived - 1, UTC))) == everything[10:]


def test_a_response_has_a_limit_and_a_lag(stream: KinesisStream) -> None:
    """It contains seven records, and the lag is 0 only at the end."""
    first = stream.fetch(stream.open(SHARD, TRIM_HORIZON), 10_000)
    assert len(first.records) == 7
    assert first.millis_behind is not None
    assert first.millis_behind > 0
    assert first.records[0].arrived_at == BEGAN - HISTORY
    assert stream.fetch(stream.open(SHARD, LATEST), 10_000).millis_behind == 0


@pytest.mark.parametrize("stream", [1, 20], indirect=True)
def test_every_event_becomes_a_separate_row_without_warnings(stream: KinesisStream) -> None:
    """Events are plain and aggregated, of about 1,180 bytes each."""
    decoder, backlog = Decoder(STREAM, Shard(SHARD)), deque(read(stream, TRIM_HORIZON))
    pieces = [piece for _ in range(len(backlog)) for piece in decoder(backlog, TRIM_HORIZON, 100)]
    rows = [json.loads(line) for line in lines(pieces).splitlines()]
    data = [one for piece in pieces for one in piece.block.data]
    assert len(rows) == len({row["event_id"] for row in rows}) == len(data) == 40
    assert sum(len(piece.dead_letters) + len(piece.skipped) for piece in pieces) == 0
    assert {row["response_body_kind"] for row in rows} == {"json", "twiml"}
    assert all(row["warnings"] == [] for row in rows)
    assert 1150 < sum(map(len, data)) / 40 < 1210


def test_invalid_requests_are_rejected(stream: KinesisStream) -> None:
    """They use an unknown iterator or an unknown shard."""
    with pytest.raises(IteratorExpired):
        stream.fetch("nonsense", 10_000)
    with pytest.raises(ShardGone):
        stream.open("shardId-000000000002", TRIM_HORIZON)


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "b"], ["a", "a"]])
def test_a_run_that_loses_or_repeats_an_event_is_rejected(ids: list[str], tmp_path: Path) -> None:
    """Its figure would be meaningless."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"event_id": name}) + "\n" for name in ids))
    with pytest.raises(SystemExit, match="2 events"):
        check(tmp_path, 2)


def reader_of(stub: Stub) -> KinesisStream:
    return KinesisStream(STREAM, kinesis_client(STREAM, "us-east-1", stub.url, 1))


def served(stub: Stub) -> Iterator[KinesisStream]:
    with stub:
        serving = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        reader = reader_of(stub)
        yield reader
        reader.close()
        stub.shutdown()
        serving.join()


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.mark.usefixtures("_credentials")
def test_events_repeat_with_new_sequence_numbers() -> None:
    """So a long run needs little memory, and no record comes twice."""
    for reader in served(Stub(bake(2, 80, 1, BEGAN, distinct=20), 7, BEGAN)):
        records = read(reader, TRIM_HORIZON)
        assert len(records) == len({record.sequence for record in records}) == 40
        assert [record.sequence for record in records] == sorted(record.sequence for record in records)
        assert len({record.data for record in records}) == 10
        assert read(reader, Position.of(records[25].sequence)) == records[25:]


@pytest.mark.usefixtures("_credentials")
def test_a_split_and_a_merge_end_shards_that_name_their_children() -> None:
    """A parent ends after the last record that was read, and its children cover its hash keys."""
    stub = Stub(bake(2, 80, 1, BEGAN), 7, BEGAN)
    for reader in served(stub):
        iterator = reader.fetch(reader.open(SHARD, TRIM_HORIZON), 100).next_iterator
        stub.reshard()
        end = reader.fetch(iterator or "", 100)
        assert (end.records, end.next_iterator) == ([], None)
        assert [child.shard_id for child in end.children] == ["shardId-000000000002", "shardId-000000000003"]
        stub.reshard()
        shards = {shard.shard_id: shard for shard in reader.shards()}
        assert shards["shardId-000000000004"].parents == ("shardId-000000000002", "shardId-000000000003")
        assert shards["shardId-000000000004"].hash_range == shards[SHARD].hash_range


@pytest.mark.usefixtures("_credentials")
def test_a_stub_can_throttle_its_readers() -> None:
    """The error is the one that AWS returns."""
    for reader in served(Stub(bake(2, 80, 1, BEGAN), 7, BEGAN, Faults(throttle=1.0))):
        with pytest.raises(Throttled):
            reader.fetch(reader.open(SHARD, TRIM_HORIZON), 100)


def test_a_larger_size_makes_larger_events() -> None:
    """Its addition lies in the body."""
    [first, *_] = events(0, 2, BEGAN, BEGAN + 1, 5000)
    assert 4950 < len(first.data) < 5050


def test_ratios_are_medians_of_neighbouring_runs_and_tell_missed_bars() -> None:
    """A slow minute slows both runs of a pair, so it does not change their ratio."""
    runs = Runs(1_000_000)
    runs.costs["call-consumer, jsonl"] = [Cost(cpu, 1.0, 1.0) for cpu in (12.0, 24.0, 60.0)]
    runs.costs["floor, pydantic"] = [Cost(cpu, 1.0, 1.0) for cpu in (10.0, 20.0, 40.0)]
    assert runs.ratio("call-consumer, jsonl", "floor, pydantic") == pytest.approx(1.2)
    plain, aggregated = next(figures_of("plain", runs)), next(figures_of("aggregated", runs))
    assert (plain.missed, aggregated.missed) == (True, False)
    assert "MISSED" in plain.line()


def test_figures_are_json_with_the_machine_and_the_build_of_python() -> None:
    """A figure without them cannot be compared with another one."""
    document = json.loads(as_json([Figure("a", 1.0, "s", 2.0)]))
    assert document["figures"] == [{"name": "a", "value": 1.0, "unit": "s", "bar": 2.0, "note": ""}]
    assert "PGO" in document["python"]


def test_the_profile_finds_each_step() -> None:
    """A step whose function has another name now would be missing from the sum."""
    for _, module, path in STEPS:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found)


def test_a_step_inside_another_counts_once() -> None:
    """So the steps add up to the CPU of the process."""
    clocks = Clocks()

    def work() -> int:
        return sum(range(300_000))

    inner = clocks.timed("inner", work)
    outer = clocks.timed("outer", lambda: iter([inner(), work()]))
    began = time.thread_time()
    assert len(list(outer())) == 2
    total = time.thread_time() - began
    assert clocks.seconds.total() == pytest.approx(total, rel=0.2)
    assert clocks.seconds["inner"] < 0.8 * total


def test_a_larger_stream_needs_more_shards_and_processes() -> None:
    """Shards follow the peak of records or bytes; two processes are the least."""
    small, large = (fleet(events, Measured(45.0, 0.0015), 1) for events in (10**6, 10**10))
    assert (small.shards, small.processes) == (1, 2)
    assert large.shards == 410
    assert 15 < large.cores < 20
    assert large.processes == 24
