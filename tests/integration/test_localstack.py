"""Read a stream of LocalStack, which runs without docker and creates the stream in its ready hook."""

from pathlib import Path

from schemas import examples
from tests.integration.workers import STREAM, kinesis_client, put, run
from tests.servers.localstack import localstack


def test_every_event_on_localstack_becomes_a_row(tmp_path: Path) -> None:
    """A second run has nothing to do."""
    with localstack() as endpoint:
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
