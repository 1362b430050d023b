"""Read a stream of LocalStack, and write to its S3. It runs without docker, and its ready hook creates the stream."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from consumer.testing import SinkContract, SinkPlace
from schemas import examples
from tests.contracts.object_places import new_bucket, s3_client, s3_objects, s3_place
from tests.contracts.places import OPEN
from tests.integration.workers import CREDENTIALS, STREAM, kinesis_client, put, run
from tests.servers.localstack import localstack


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with localstack() as url:
        yield url


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the credentials of this process, and close what the test opened."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    yield
    while OPEN:
        OPEN.pop().close()


def test_every_event_on_localstack_becomes_a_row(tmp_path: Path, endpoint: str) -> None:
    """A second run has nothing to do. Another application writes the same rows to S3, each once."""
    client = kinesis_client(endpoint)
    assert len(client.list_shards(StreamName=STREAM)["Shards"]) == 2
    put(client, range(50))
    put(client, range(50, 150), per_record=10)
    client.put_record(StreamName=STREAM, PartitionKey="a", Data=examples.load("documented-call-created"))
    done = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert "written 151" in done.stderr
    again = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert "written 0" in again.stderr
    client.close()
    assert set(rows_on_s3(tmp_path, endpoint).values()) == {1}


def rows_on_s3(directory: Path, endpoint: str) -> Counter[str]:
    """Write all events to S3 as Parquet, with the endpoint of the setting. Return how often each of them is there."""
    s3 = s3_client(endpoint)
    bucket = new_bucket(s3)
    places = ("--sink", f"s3://{bucket}/calls?format=parquet", "--dead-letters", f"s3://{bucket}/calls")
    done = run(directory, endpoint, *places, "--application", "lake", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    found = [content for name, content in s3_objects(s3, bucket) if name.endswith(".parquet")]
    events = Counter(
        event for each in found for event in pq.read_table(io.BytesIO(each)).column("event_id").to_pylist()
    )
    assert events.total() == 151
    return events


class TestObjectsOnLocalStack(SinkContract):
    """The contract of sinks over S3 of LocalStack."""

    @pytest.fixture
    def place(self, endpoint: str) -> SinkPlace:
        return s3_place(endpoint, "jsonl.gz")
