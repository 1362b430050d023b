"""Kill workers on a busy machine with one seed; `python -m tests.chaos --kills N` runs more."""

import os
from pathlib import Path

import pytest

from tests.chaos.kills import EVENTS, kill_run
from tests.servers.kinesis import kinesis_local


@pytest.mark.alone
def test_ten_kills_on_a_busy_machine_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Eight busy loops run beside it.

    A plain loop over the stream is the reference, and the last run has two minutes.
    """
    seed = int(os.environ.get("CHAOS_SEED") or 1)
    with kinesis_local() as endpoint:
        report = kill_run(seed, tmp_path, endpoint)
    print(report)
    assert not report.broken, str(report)
    assert report.rows == EVENTS
