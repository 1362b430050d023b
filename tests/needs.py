"""Require what a test needs. If it is missing, skip the test on a laptop, and fail it with CI=true."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALLERS = ROOT / ".ci" / "emulators"
INSTALLED = ROOT / ".emulators"


def need(there: bool, what: str) -> None:
    """Skip or fail the test unless `what` is present."""
    if there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def install(script: Path, *arguments: str, timeout: float = 300.0) -> None:
    """Run an installer of `.ci/emulators`, one at a time. It does nothing when it is already installed.

    Parallel test processes would otherwise unpack into each other's files.
    """
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([str(script), *arguments], check=True, timeout=timeout)
