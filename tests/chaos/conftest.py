"""Provide the servers for the fleets."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError

from tests.chaos.fleet import LEASE_TABLE, Services
from tests.integration.workers import STREAM, client, gone, kinesis_client


@pytest.fixture
def services(kinesis_local_server: str, dynamodb_local_server: str) -> Iterator[Services]:
    """Remove stream and lease table after each test, because a worker rejects a lease table of another stream."""
    yield Services(kinesis_local_server, dynamodb_local_server)
    kinesis, dynamodb = kinesis_client(kinesis_local_server), client("dynamodb", dynamodb_local_server)
    with suppress(ClientError):  # the test has deleted it
        kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    gone(kinesis)
    with suppress(ClientError):  # the test has failed before there was one
        dynamodb.delete_table(TableName=LEASE_TABLE)
    kinesis.close()
    dynamodb.close()
