"""A table in a SQLite file. Its primary key is the event's identity, so repeats, Twilio's own too, are absorbed."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel

from consumer.errors import ConfigurationError, RowsRejected, SinkUnavailable
from consumer.places import PlaceUrl
from consumer.records import BatchLimits
from consumer.sinks import Batch, Contents, Repeats

SCHEMES = ("sqlite",)
# How long to wait for another writer of the file, seconds; longer ones are retried by the engine.
BUSY = 2.0
AT_ONCE = 1_000  # rows in memory; a batch may be larger and lie on disk
DATABASE = b"SQLite format 3\0"  # how each one begins
NOT_STORABLE = (OverflowError, UnicodeError, sqlite3.DataError, sqlite3.InterfaceError)
Values = list[Any]


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: PlaceUrl, options: Options, contents: Contents) -> "SqliteSink":
    """Open the sink; the file is made by `check`."""
    if not url.path:
        raise ConfigurationError(f"{url.label} sqlite: name a file, such as sqlite:rows.db")
    return SqliteSink(Path(url.path), contents)


class SqliteSink:
    """One table; one transaction a batch; durable on return (WAL, synchronous=FULL)."""

    limits = BatchLimits(rows=1_000, bytes=4 * 1024 * 1024, age=1.0)
    repeats = Repeats.BY_ROW

    def __init__(self, file: Path, contents: Contents) -> None:
        self._file, self._contents = file, contents
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        marks = ", ".join("?" * len(contents.fields))
        self._insert = f"INSERT INTO {contents.name} VALUES ({marks}) ON CONFLICT DO NOTHING"

    def check(self) -> None:
        with self._lock:
            try:
                self._open()
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise SinkUnavailable(f"{self._file} is locked by another process") from None
                raise ConfigurationError(f"{self._file}: {error}") from None
            except (sqlite3.DatabaseError, OSError) as error:
                raise ConfigurationError(f"{self._file}: {getattr(error, 'strerror', None) or error}") from None

    def write(self, batch: Batch) -> int:
        with self._lock:
            try:
                return self._write(batch)
            except sqlite3.Error as error:
                reason = getattr(error, "sqlite_errorname", type(error).__name__)  # its text may name a value
                raise SinkUnavailable(f"{self._file}: {reason}") from None

    def holds(self, name: str) -> bool:
        """Nothing here has a name."""
        return False

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._contents.private:
                _make_private(self._file)
            connection = sqlite3.connect(self._file, timeout=BUSY, check_same_thread=False, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._contents.name}"
                f" ({', '.join(self._contents.fields)}, PRIMARY KEY ({', '.join(self._contents.key)}))"
            )
            self._fit(connection)
            connection.execute(f"DELETE FROM {self._contents.name} WHERE FALSE")  # all else works read-only, too
            self._connection = connection
        return self._connection

    def _fit(self, connection: sqlite3.Connection) -> None:
        found = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({self._contents.name})"))
        if found != self._contents.fields:
            connection.close()
            raise ConfigurationError(f"{self._file}: table {self._contents.name} has other columns; name another file")

    def _values(self, line: bytes) -> Values:
        row = msgspec.json.decode(line)
        return [_stored(row.get(field)) for field in self._contents.fields]

    def _write(self, batch: Batch) -> int:
        """Insert all in one transaction, a part of the batch in memory at a time."""
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        before = connection.total_changes
        rejected: dict[int, str] = {}
        rows, start = iter(batch), 0
        try:
            while part := [self._values(item.line) for item in islice(rows, AT_ONCE)]:
                rejected |= {start + index: why for index, why in self._insert_all(connection, part)}
                start += len(part)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        repeated = start - len(rejected) - (connection.total_changes - before)
        if rejected:
            raise RowsRejected(rejected, repeated)
        return repeated

    def _insert_all(self, connection: sqlite3.Connection, rows: Sequence[Values]) -> Iterator[tuple[int, str]]:
        """Insert rows; one by one only when SQLite can't store one of them. Yields those with the reason."""
        try:
            connection.executemany(self._insert, rows)
            return
        except NOT_STORABLE:
            pass
        for index, row in enumerate(rows):
            try:
                connection.execute(self._insert, row)
            except NOT_STORABLE as error:
                yield index, f"SQLite cannot store it: {type(error).__name__}"


def _make_private(file: Path) -> None:
    """For its owner only, before SQLite makes the files beside it alike. It may be there already, with rows in it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.read(descriptor, len(DATABASE)) in (b"", DATABASE):  # any other file is somebody's, and left as it is
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _stored(value: Any) -> Any:
    """Lists and objects are stored as JSON."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value
