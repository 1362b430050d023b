"""A kinesis-local for all tests of this folder, and a stream of four shards for each."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.servers import kinesis_local
from tests.integration.workers import STREAM, kinesis_client


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with kinesis_local() as url:
        yield url


@pytest.fixture
def kinesis(endpoint: str) -> Iterator[Any]:
    client = kinesis_client(endpoint)
    client.create_stream(StreamName=STREAM, ShardCount=4)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    yield client
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    client.get_waiter("stream_not_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    client.close()
