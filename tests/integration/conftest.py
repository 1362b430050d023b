"""A kinesis-local for all tests of this folder, and a stream of four shards for each."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.integration.servers import kinesis_local
from tests.integration.workers import STREAM


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with kinesis_local() as url:
        yield url


@pytest.fixture
def kinesis(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_stream(StreamName=STREAM, ShardCount=4)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    yield client
    client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    client.get_waiter("stream_not_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    client.close()
