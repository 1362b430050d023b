"""The servers that fleets run on."""

from collections.abc import Iterator

import pytest

from tests.chaos.fleet import Services
from tests.servers.dynamodb import dynamodb_local
from tests.servers.kinesis import kinesis_local


@pytest.fixture
def services() -> Iterator[Services]:
    """New ones for each test: a lease table of another stream, even of its name, is refused."""
    with kinesis_local() as kinesis, dynamodb_local() as dynamodb:
        yield Services(kinesis, dynamodb)
