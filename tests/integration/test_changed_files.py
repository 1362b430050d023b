"""Change the SQLite files of a running worker: later events are in the file, and the log says what may be missing."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import expected, in_sqlite, logged, put, start, wait_until

FIRST, LATER = range(400), range(400, 700)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def overwritten(file: Path) -> None:
    with closing(sqlite3.connect(file.with_name("other"))) as other:
        other.execute("CREATE TABLE theirs (id)")
        other.executemany("INSERT INTO theirs VALUES (?)", [(number,) for number in range(3000)])
        other.commit()
    shutil.copyfile(file.with_name("other"), file)


def log_emptied(file: Path) -> None:
    os.truncate(f"{file}-wal", 0)


@pytest.mark.parametrize("change", [emptied, overwritten, log_emptied])
def test_events_after_a_change_are_in_the_file_and_the_change_is_logged(
    tmp_path: Path, endpoint: str, kinesis: Any, change: Callable[[Path], None]
) -> None:
    """The checkpoint passes no event that is neither in the file nor announced as missing."""
    file, arguments = tmp_path / "rows.db", ["--from", "trim-horizon", "--batch-age", "0.2"]
    put(kinesis, FIRST)
    with start(tmp_path, endpoint, "--sink", "sqlite:rows.db", *arguments) as worker:
        try:
            wait_until(lambda: stored(tmp_path) == set(expected(400)))
            if change is not log_emptied:
                with closing(sqlite3.connect(file)) as reader:
                    reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            change(file)
            put(kinesis, LATER)
            wait_until(lambda: stored(tmp_path) >= set(expected(700)) - set(expected(400)))
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        finally:
            worker.kill()
    assert "may be missing; to write missing rows again" in logged(tmp_path)
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if change is overwritten:
            assert reader.execute("SELECT count(*) FROM theirs").fetchone() == (3000,)


def stored(directory: Path) -> set[str]:
    """Return the ids in the file, or nothing while it cannot be read."""
    with suppress(sqlite3.Error):
        return set(in_sqlite(directory))
    return set()
