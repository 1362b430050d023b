"""Read the dead letters in the table of a SQLite file, beside the worker that writes there."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from pydantic import BaseModel

from consumer.dead_letters import Report, StoredDeadLetter
from consumer.dead_letters.stored import NotADeadLetter, from_values
from consumer.errors import ConfigurationError
from consumer.files.private import connected, connected_for_reading
from consumer.files.sqlite_checks import require_sqlite
from consumer.files.sqlite_errors import words_of
from consumer.urls import Url

TABLE = "dead_letters"
KEY = ("stream_name", "shard_id", "sequence_number", "sub_sequence_number", "event_index", "reason")
BUSY = 10.0  # seconds to wait for another writer of the file
AT_ONCE = 500  # rows deleted per transaction, so that the worker waits only briefly


class Options(BaseModel, extra="forbid"):
    """This place has no options."""


def connect(url: Url, options: Options, report: Report) -> "SqliteStore":
    """Return the dead letters of a file."""
    require_sqlite(url.label)
    if not url.path or not Path(url.path).is_file():
        raise ConfigurationError(f"{url.label} sqlite:{url.path}: there is no such file")
    return SqliteStore(Path(url.path), url.label, report)


class SqliteStore:
    """The table of dead letters, sorted by its primary key."""

    def __init__(self, file: Path, label: str, report: Report) -> None:
        self._file, self._named, self._report = file, f"{label} sqlite:{file}", report

    @property
    def ledger(self) -> Path:
        return self._file.with_name(f"{self._file.name}.redriven.db")

    def letters(self) -> Iterator[StoredDeadLetter]:
        with self._connected(connected_for_reading) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute(f"SELECT rowid, * FROM {TABLE} ORDER BY {', '.join(KEY)}"):
                values = dict(row)
                number = values.pop("rowid")
                try:
                    yield from_values(values)
                except NotADeadLetter as error:
                    self._report(f"{self._file}: row {number} of {TABLE}: {error}: skipped")

    def delete(self, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        where = " AND ".join(f"{name} = ?" for name in KEY)
        keys = iter([letter.key for letter in self.letters() if chosen(letter)])  # reads to the end before it writes
        deleted = 0
        with self._connected(_for_writing) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            while part := list(islice(keys, AT_ONCE)):
                connection.execute("BEGIN IMMEDIATE")
                deleted += connection.executemany(f"DELETE FROM {TABLE} WHERE {where}", part).rowcount
                connection.execute("COMMIT")
        return deleted

    def close(self) -> None:
        """Do nothing: connections are closed after each use."""

    @contextmanager
    def _connected(self, connect: Callable[[Path, float], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            connection = connect(self._file, BUSY)
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (TABLE,)).fetchone():
                raise ConfigurationError(f"{self._named}: it has no table {TABLE}: name another file")
            yield connection
        except sqlite3.Error as error:
            raise ConfigurationError(f"{self._named}: {words_of(error, self._file)}") from None
        finally:
            if connection is not None:
                connection.close()


def _for_writing(file: Path, timeout: float) -> sqlite3.Connection:
    return connected(file, "rw", timeout)
