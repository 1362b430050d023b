"""Provide a kinesis-local for all tests of this folder, and a new stream for each."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.workers import new_stream


@pytest.fixture(scope="session")
def endpoint(kinesis_local_server: str) -> str:
    return kinesis_local_server


@pytest.fixture
def shards() -> int:
    """Return the number of shards of the stream. A module may override this, and `endpoint`."""
    return 4


@pytest.fixture
def kinesis(endpoint: str, shards: int) -> Iterator[Any]:
    with new_stream(endpoint, shards) as client:
        yield client
