"""Run these tests on an embedded moto instead of kinesis-local: they need no shard ends, and two shards are enough."""

from collections.abc import Iterator

import pytest

from tests.servers.moto import embedded_moto


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with embedded_moto() as url:
        yield url


@pytest.fixture
def shards() -> int:
    return 2
