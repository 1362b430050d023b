"""What a test needs and a laptop may lack: there it is skipped, with CI=true it fails."""

import os

import pytest


def need(there: bool, what: str) -> None:
    """Go on only if `what` is there."""
    if there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")
