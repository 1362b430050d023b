"""Order and group the tests of all suites, and remove hypothesis's deadlines."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# Tests start hundreds of processes. Without compiled files each of them compiles its imports again, which takes most of
# its CPU time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TESTS = Path(__file__).parent
# The slowest tests start first, so that none of them runs alone at the end.
LONGEST_FIRST = ["chaos", "interop", "integration", "contracts", "simulation", "unit"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and mark which stay together. By default these are the tests of a file, which share its servers.

    `make test` runs groups side by side (pytest-xdist). Without it the marks do nothing.
    """
    items.sort(key=lambda item: _rank(item.path))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(TESTS))))


def _rank(path: Path) -> int:
    suite = path.relative_to(TESTS).parts[0]
    return LONGEST_FIRST.index(suite) if suite in LONGEST_FIRST else len(LONGEST_FIRST)
