"""What a test needs and a laptop may lack: there it is skipped, with CI=true it fails."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALLERS = ROOT / ".ci" / "emulators"
INSTALLED = ROOT / ".emulators"


def need(there: bool, what: str) -> None:
    """Go on only if `what` is there."""
    if there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def install(script: Path, *arguments: str, timeout: float = 300.0) -> None:
    """Run an installer of `.ci/emulators`, which does nothing where its work is done; one at a time.

    Test processes that run side by side would else unpack into each other's files.
    """
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([str(script), *arguments], check=True, timeout=timeout)
