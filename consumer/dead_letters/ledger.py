"""Remember which dead letters were redriven: one row per dead letter and destination, in a SQLite file.

A claim is stored before the write, and its success after it. So a run that was killed in between leaves claims, and the
next one asks the sink or writes them again. Only one run at a time uses a ledger for writing.
"""

import fcntl
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from consumer.errors import ConfigurationError
from consumer.files.disk import reason_of
from consumer.files.private import connected, connected_for_reading
from consumer.files.sqlite_errors import words_of
from consumer.records import rfc3339

CLAIMED, WRITTEN, REJECTED = "claimed", "written", "rejected"
BUSY = 10.0  # seconds to wait for a reader of the file
_COLUMNS = "letter, destination, batch, state, message, at"


class Entry(NamedTuple):
    """What the ledger says about one dead letter and one destination. `at` is RFC 3339 in UTC."""

    destination: str
    state: str
    at: str
    message: str = ""


class Ledger:
    """The redrives of the dead letters of one place. Open it with `opened` or `read_only`."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def entries(self, letter: str) -> Sequence[Entry]:
        """Return what is known about a dead letter, by destination."""
        if self._connection is None:
            return []
        query = "SELECT destination, state, at, message FROM redrives WHERE letter = ? ORDER BY destination"
        return [Entry(*row) for row in self._connection.execute(query, (letter,))]

    def written(self, letter: str, destination: str) -> bool:
        """Return whether a dead letter was redriven to a destination."""
        return any(e.state == WRITTEN and e.destination == destination for e in self.entries(letter))

    def unfinished(self, destination: str) -> Mapping[str, int]:
        """Return the names of batches that a killed run has claimed, with their numbers of dead letters."""
        if self._connection is None:
            return {}
        query = "SELECT batch, count(*) FROM redrives WHERE destination = ? AND state = ? GROUP BY batch"
        return dict(self._connection.execute(query, (destination, CLAIMED)).fetchall())

    def claim(self, letters: Collection[str], destination: str, batch: str) -> None:
        """Store that these dead letters are about to be written as one batch."""
        self._store([(letter, destination, batch, CLAIMED, "", _now()) for letter in letters])

    def succeeded(self, batch: str, destination: str) -> None:
        """Store that all claimed dead letters of a batch are written."""
        self._change("UPDATE redrives SET state = ?, at = ? WHERE batch = ? AND destination = ? AND state = ?",
                     WRITTEN, _now(), batch, destination, CLAIMED)  # fmt: skip

    def rejected(self, reasons: Mapping[str, str], destination: str, batch: str) -> None:
        """Store that the sink rejected these dead letters, with the reason of each. A later run tries them again."""
        self._store([(letter, destination, batch, REJECTED, why, _now()) for letter, why in reasons.items()])

    def release(self, batch: str, destination: str) -> None:
        """Forget the claims of a batch, so that its dead letters are taken again."""
        query = "DELETE FROM redrives WHERE batch = ? AND destination = ? AND state = ?"
        self._change(query, batch, destination, CLAIMED)

    def _store(self, rows: Sequence[tuple[str, ...]]) -> None:
        connection = self._open_for_writing()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT OR REPLACE INTO redrives ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    def _change(self, statement: str, *values: str) -> None:
        self._open_for_writing().execute(statement, values)

    def _open_for_writing(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("this ledger is only read")
        return self._connection


@contextmanager
def opened(file: Path) -> Iterator[Ledger]:
    """Open a ledger for writing, and create it if it is missing.

    Raises:
        ConfigurationError: another run uses it, or it cannot be used.
    """
    with _translating(file):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor, file)
            connection = connected(file, "rw", BUSY)
            try:
                _prepare(connection)
                yield Ledger(connection)
            finally:
                connection.close()
        finally:
            os.close(descriptor)  # after the connection: closing it releases SQLite's locks


@contextmanager
def read_only(file: Path) -> Iterator[Ledger]:
    """Open a ledger for reading, also while another run writes to it. A missing file is an empty ledger."""
    with _translating(file):
        if not file.exists() or not file.stat().st_size:
            yield Ledger(None)
            return
        connection = connected_for_reading(file, BUSY)
        try:
            yield Ledger(connection)
        finally:
            connection.close()


def _lock(descriptor: int, file: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"ledger {file}: another redrive is running: wait for its end") from None


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS redrives (letter, destination, batch, state, message, at,"
        " PRIMARY KEY (letter, destination))"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS batches ON redrives (batch) WHERE state = 'claimed'")


def _now() -> str:
    return rfc3339(datetime.now(UTC))


@contextmanager
def _translating(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigurationError(f"ledger {file}: {words_of(error, file)}") from None
    except OSError as error:
        if error.filename is None:
            raise
        raise ConfigurationError(f"ledger {file}: {reason_of(error)}; name another one with --ledger") from None
