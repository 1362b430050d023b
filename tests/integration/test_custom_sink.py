"""Install a sink from another package: the worker, the contract suite and mypy accept it."""

import csv
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

from tests.integration.workers import STREAM, environment, expected, put
from tests.needs import ROOT
from tests.servers.moto import embedded_moto

BUILT_FROM = ("consumer", "schemas", "pyproject.toml", "README.md", "LICENSE")
OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with embedded_moto() as url:
        yield url


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the sources of the example in a folder where a build may leave files."""
    return copytree(
        ROOT / "examples" / "csv_sink", tmp_path_factory.mktemp("example") / "csv_sink", ignore=ignore_patterns("__*__")
    )


@pytest.fixture(scope="module")
def python(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a Python with both packages installed, and all else from the environment of the tests."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    installed = Path(sysconfig.get_path("purelib", vars={"base": str(directory)}))
    (installed / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(python, "-m", "pip", "install", *OFFLINE, "--ignore-installed", str(ROOT), str(example))
    return python


def run(python: Path, *arguments: str, directory: Path | None = None) -> str:
    """Run a command of that Python and return its output."""
    done = subprocess.run(
        [str(python), *arguments], cwd=directory, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_worker_finds_the_sink_and_writes_every_row(
    python: Path, endpoint: str, kinesis: Any, tmp_path: Path
) -> None:
    """`--sink csv:DIR` and `--dead-letters csv:DIR` work as soon as the package is installed."""
    put(kinesis, range(50), per_record=5)
    kinesis.put_record(StreamName=STREAM, PartitionKey="key", Data=b"no JSON")
    arguments = ("--sink", "csv:out", "--dead-letters", "csv:out", "--endpoint-url", endpoint, "--until-caught-up")
    run(python, "-m", "consumer", "run", STREAM, *arguments, directory=tmp_path)
    assert sorted(row["event_id"] for row in rows(tmp_path / "out" / "call_requests")) == expected(50)
    [dead_letter] = rows(tmp_path / "out" / "dead_letters")
    assert dead_letter["reason"] == "not-json"


def rows(directory: Path) -> list[dict[str, str]]:
    files = sorted(directory.rglob("*.csv"))
    return [row for file in files for row in csv.DictReader(file.read_text().splitlines())]


def test_the_sink_passes_the_shipped_contract(python: Path, example: Path) -> None:
    """The example's own tests need nothing but the installed packages."""
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", ".", directory=example)


def test_the_sink_type_checks_against_the_installed_package(python: Path, example: Path) -> None:
    """Both packages of the wheel carry py.typed."""
    run(python, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", ".", directory=example)
