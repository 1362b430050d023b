"""Check images, compose file, lock files and generated schemas without docker."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from schemas.__main__ import drifted

ROOT = Path(__file__).parents[2]
LOCKS = [*sorted((ROOT / "requirements").glob("*.txt")), ROOT / ".ci" / "emulators" / "localstack" / "requirements.txt"]
COMPOSE = yaml.safe_load((ROOT / "localstack-compose.yml").read_text())


def test_localstack_is_the_pinned_free_image_on_loopback() -> None:
    """Later images require an account."""
    localstack = COMPOSE["services"]["localstack"]
    assert localstack["image"] == "localstack/localstack:4.14.0"
    assert all(port.startswith("127.0.0.1:") for port in localstack["ports"])
    assert set(localstack["environment"]["SERVICES"].split(",")) == {"kinesis", "dynamodb", "s3"}


def test_the_grace_period_is_longer_than_the_shutdown_timeout() -> None:
    """The default shutdown timeout is 25 s."""
    assert int(COMPOSE["services"]["worker"]["stop_grace_period"].rstrip("s")) > 25


def test_the_ready_hook_is_mounted_executable_and_valid_shell() -> None:
    """LocalStack runs only executable hooks."""
    [mount] = COMPOSE["services"]["localstack"]["volumes"]
    source, target, _ = mount.split(":")
    assert target == "/etc/localstack/init/ready.d"
    for hook in (ROOT / source).iterdir():
        assert os.access(hook, os.X_OK)
        subprocess.run(["bash", "-n", str(hook)], check=True)


def test_the_image_runs_the_worker_directly_and_not_as_root() -> None:
    """An entry point in exec form receives the signals."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER worker$", dockerfile, re.MULTILINE)
    assert 'ENTRYPOINT ["call-consumer"]' in dockerfile
    assert "--require-hashes" in dockerfile


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_requirement_has_a_version_and_hashes_but_no_address(lock: Path) -> None:
    """The files name no download address."""
    text = lock.read_text()
    assert "://" not in text
    names = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert names
    assert all("==" in name for name in names)
    assert text.count("==") <= text.count("--hash=sha256:")


def test_the_changelog_has_a_dated_section_for_the_version() -> None:
    """`make release` refuses to build a version without one."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_the_json_schemas_match_the_models() -> None:
    """Run `python -m schemas` after a change of a model."""
    assert drifted() == []
