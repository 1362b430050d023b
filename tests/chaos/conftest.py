"""Provide the servers for the fleets."""

from collections.abc import Iterator

import pytest

from tests.chaos.fleet import Services
from tests.servers.dynamodb import dynamodb_local
from tests.servers.kinesis import kinesis_local


@pytest.fixture
def services() -> Iterator[Services]:
    """Start new servers for each test, because a worker rejects a lease table of another stream."""
    with kinesis_local() as kinesis, dynamodb_local() as dynamodb:
        yield Services(kinesis, dynamodb)
