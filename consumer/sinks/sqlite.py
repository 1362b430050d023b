"""A table in a SQLite file. Its primary key is the event's identity, so repeats, Twilio's own too, are absorbed."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel

from consumer.errors import ConfigurationError, RowsRejected, SinkUnavailable
from consumer.files.sqlite import SqliteFile, require_sqlite
from consumer.records import BatchLimits
from consumer.sinks import Batch, Deduplication, SinkSchema
from consumer.urls import Url

SCHEMES = ("sqlite",)
# How long to wait for another writer of the file, seconds; longer ones are retried by the engine.
BUSY = 2.0
AT_ONCE = 1_000  # rows in memory; a batch may be larger and lie on disk
NOT_STORABLE = (OverflowError, UnicodeError, sqlite3.DataError, sqlite3.InterfaceError)
Values = list[Any]


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: Url, options: Options, contents: SinkSchema) -> "SqliteSink":
    """Open the sink; the file is made by `check`."""
    require_sqlite(url.label)
    if not url.path:
        raise ConfigurationError(f"{url.label} sqlite: name a file, such as sqlite:rows.db")
    return SqliteSink(Path(url.path), contents, url.label)


class SqliteSink:
    """One table; one transaction a batch; durable on return (WAL, synchronous=FULL)."""

    limits = BatchLimits(rows=1_000, bytes=4 * 1024 * 1024, age=1.0)
    repeats = Deduplication.BY_ROW

    def __init__(self, file: Path, contents: SinkSchema, label: str = "--sink") -> None:
        self._named, self._contents = f"{label} {file}", contents
        self._file = SqliteFile(file, label, self._prepare, SinkUnavailable, BUSY, contents.private)
        marks = ", ".join("?" * len(contents.fields))
        self._insert = f"INSERT INTO {contents.name} VALUES ({marks}) ON CONFLICT DO NOTHING"

    def check(self) -> None:
        self._file.check()

    def write(self, batch: Batch) -> int:
        """Insert all in one transaction, a part of the batch in memory at a time."""
        rejected: dict[int, str] = {}
        rows, start = iter(batch), 0
        with self._file.transaction() as connection:
            before = connection.total_changes
            while part := [self._values(item.line) for item in islice(rows, AT_ONCE)]:
                rejected |= {start + index: why for index, why in self._insert_all(connection, part)}
                start += len(part)
            written = connection.total_changes - before
        repeated = start - len(rejected) - written
        if rejected:
            raise RowsRejected(rejected, repeated)
        return repeated

    def holds(self, name: str) -> bool:
        """Nothing here has a name."""
        return False

    def close(self) -> None:
        self._file.close()

    def _prepare(self, connection: sqlite3.Connection, _new: bool) -> None:
        """Make the table, in a file too that was put in the place of another one while the worker runs."""
        name, fields, key = self._contents.name, ", ".join(self._contents.fields), ", ".join(self._contents.key)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({fields}, PRIMARY KEY ({key}))")
        found = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
        if found != self._contents.fields:
            raise ConfigurationError(f"{self._named}: table {name} has other columns; name another file")
        connection.execute(f"DELETE FROM {name} WHERE FALSE")  # all else works read-only, too

    def _values(self, line: bytes) -> Values:
        row = msgspec.json.decode(line)
        return [_stored(row.get(field)) for field in self._contents.fields]

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


def _stored(value: Any) -> Any:
    """Lists and objects are stored as JSON."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value
