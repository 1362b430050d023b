"""What holds for every suite: how tests share a machine, and that hypothesis never judges how long one took on it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

TESTS = Path(__file__).parent
# What takes longest starts first, so that nothing long is left alone at the end.
LONGEST_FIRST = ["chaos", "interop", "integration", "contracts", "simulation", "unit"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and say which stay together: those of a file, which share its servers, unless it says otherwise.

    `make test` runs groups side by side (pytest-xdist); without it the marks mean nothing.
    """
    items.sort(key=lambda item: _rank(item.path))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(TESTS))))


def _rank(path: Path) -> int:
    suite = path.relative_to(TESTS).parts[0]
    return LONGEST_FIRST.index(suite) if suite in LONGEST_FIRST else len(LONGEST_FIRST)
