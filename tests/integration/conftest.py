"""Provide a kinesis-local for all tests of this folder, and a new stream for each."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.workers import new_stream
from tests.servers.kinesis import kinesis_local


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with kinesis_local() as url:
        yield url


@pytest.fixture
def shards() -> int:
    """Return the number of shards of the stream. A module may override this, and `endpoint`."""
    return 4


@pytest.fixture
def kinesis(endpoint: str, shards: int) -> Iterator[Any]:
    with new_stream(endpoint, shards) as client:
        yield client
