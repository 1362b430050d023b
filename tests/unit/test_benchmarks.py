"""Check that the stub of the benchmarks responds as Kinesis does."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.__main__ import check
from benchmarks.events import STREAM
from benchmarks.stub import HISTORY, Stub, bake
from consumer.decoding.decoder import Decoder
from consumer.errors import IteratorExpired, ShardGone
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
