"""Read the rows of a sink: number, location, and when each was first visible."""

import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Seen(NamedTuple):
    """A row. `at` and `arrived_at` are in epoch seconds of this machine."""

    number: int
    shard: str
    sequence: int
    sub_sequence: int
    arrived_at: float
    at: float

    @property
    def place(self) -> tuple[int, int]:
        return self.sequence, self.sub_sequence

    @property
    def delay(self) -> float:
        """Return the seconds between the arrival on the stream and the sink."""
        return self.at - self.arrived_at


class Rows(Protocol):
    """The rows of a sink, as another process sees them."""

    url: str

    def poll(self) -> None:
        """Read new rows."""

    def rows(self) -> list[Seen]:
        """Return all rows in the order in which they were written."""


class SqliteRows:
    """The rows of an SQLite sink in the order of insertion. The time is that of the poll."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "rows.db"
        self._seen: list[Seen] = []
        self._last = 0
        self.url = f"sqlite:{self._file}"

    def poll(self) -> None:
        if not self._file.exists():
            return
        database = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=5)
        database.row_factory = sqlite3.Row
        try:
            for row in database.execute(
                "SELECT rowid, * FROM call_requests WHERE rowid > ? ORDER BY rowid", (self._last,)
            ):
                self._seen.append(_seen(row, time.time()))
                self._last = row["rowid"]
        except sqlite3.OperationalError:
            return  # no table yet, or locked: the next poll reads it
        finally:
            database.close()

    def rows(self) -> list[Seen]:
        self.poll()
        return self._seen


class JsonlRows:
    """The rows of a directory of files. The time of a row is that of its file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "rows"
        self.url = f"jsonl:{self._directory}"

    def poll(self) -> None:
        """Do nothing, because files keep their times."""

    def rows(self) -> list[Seen]:
        files = sorted(self._directory.rglob("[!.]*.jsonl"), key=lambda file: file.stat().st_mtime_ns)
        return [row for file in files for row in self._of(file)]

    def _of(self, file: Path) -> Iterator[Seen]:
        written = file.stat().st_mtime
        for line in file.read_text().splitlines():
            yield _seen(json.loads(line), written)


def _seen(row: Any, at: float) -> Seen:
    return Seen(
        int(row["event_id"][2:], 16),
        row["shard_id"],
        int(row["sequence_number"]),
        row["sub_sequence_number"],
        datetime.fromisoformat(row["arrived_at"]).timestamp(),
        at,
    )


def dead_letters(file: Path) -> int:
    """Return the number of dead letters in an SQLite file."""
    if not file.exists():
        return 0
    database = sqlite3.connect(file)
    try:
        found: int = database.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
        return found
    finally:
        database.close()
