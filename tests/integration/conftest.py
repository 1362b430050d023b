"""A kinesis-local for all tests of this folder, and a new stream for each."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.workers import STREAM, kinesis_client
from tests.servers.kinesis import kinesis_local


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with kinesis_local() as url:
        yield url


@pytest.fixture
def shards() -> int:
    """The number of shards of the stream; a module may override it, and `endpoint` too."""
    return 4


@pytest.fixture
def kinesis(endpoint: str, shards: int) -> Iterator[Any]:
    client = kinesis_client(endpoint)
    client.create_stream(StreamName=STREAM, ShardCount=shards)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    yield client
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    client.get_waiter("stream_not_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    client.close()
