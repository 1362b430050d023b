"""Provide the earlier release beside this one, and a stream for both."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import new_stream
from tests.needs import need

ROOT = Path(__file__).parents[2]
EARLIER = "9524bcd"  # the first release that others may have run


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a folder with the code of the earlier release."""
    archived = subprocess.run(
        ["git", "archive", EARLIER, "consumer", "schemas"], cwd=ROOT, capture_output=True, check=False
    )
    need(archived.returncode == 0, f"git with the history of this project ({EARLIER})")
    folder = tmp_path_factory.mktemp("earlier")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archived.stdout, check=True)
    return folder


@pytest.fixture(scope="session")
def endpoint(kinesis_local_server: str) -> str:
    return kinesis_local_server


@pytest.fixture
def kinesis(endpoint: str) -> Iterator[Any]:
    with new_stream(endpoint, 2) as client:
        yield client


@pytest.fixture
def leases(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Provide a lease table that both releases share."""
    if request.param == "sqlite":
        return "sqlite:call-consumer.db"
    return f"dynamodb:{tmp_path.name}?endpoint_url={request.getfixturevalue('dynamodb_local_server')}"
