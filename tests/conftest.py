"""Order and group the tests of all suites, share servers, and remove hypothesis's deadlines."""

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader, Loader
from hypothesis import HealthCheck, settings

from tests.servers.dynamodb import dynamodb_local
from tests.servers.kinesis import kinesis_local
from tests.servers.moto import moto

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# Tests start hundreds of processes. Without compiled files each of them compiles its imports again, which takes most of
# its CPU time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


class OnceLoader(JSONFileLoader):
    """Read each of botocore's models once per process. Each new session reads them again, which takes 40 ms of CPU."""

    _read = staticmethod(functools.cache(JSONFileLoader().load_file))

    def load_file(self, file_path: str) -> Any:
        return self._read(file_path)


Loader.FILE_LOADER_CLASS = OnceLoader

TESTS = Path(__file__).parent
# The slowest tests start first, so that none of them runs alone at the end.
LONGEST_FIRST = ["chaos", "interop", "upgrade", "integration", "docs", "simulation", "contracts", "unit"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and mark which stay together. By default these are the tests of a file, which share its servers.

    `make test` runs groups side by side (pytest-xdist). Without it the marks do nothing.
    """
    items.sort(key=lambda item: _rank(item.path))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(TESTS))))


@pytest.fixture(scope="session")
def kinesis_local_server() -> Iterator[str]:
    """Provide one kinesis-local for all suites of a test process. Its start takes seconds of CPU time."""
    with kinesis_local() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_local_server() -> Iterator[str]:
    with dynamodb_local() as url:
        yield url


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    with moto() as url:
        yield url


def _rank(path: Path) -> int:
    suite = path.relative_to(TESTS).parts[0]
    return LONGEST_FIRST.index(suite) if suite in LONGEST_FIRST else len(LONGEST_FIRST)
