"""Kills on a starved machine: one seed of them here, `python -m tests.chaos --kills N` has more."""

import os
from pathlib import Path

import pytest

from tests.chaos.kills import EVENTS, kill_run
from tests.servers.kinesis import kinesis_local


@pytest.mark.alone
def test_ten_kills_on_a_starved_machine_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Eight busy loops beside it; a plain loop over the stream is the judge, and the last run has two minutes."""
    seed = int(os.environ.get("CHAOS_SEED") or 1)
    with kinesis_local() as endpoint:
        report = kill_run(seed, tmp_path, endpoint)
    print(report)
    assert not report.broken, str(report)
    assert report.rows == EVENTS
