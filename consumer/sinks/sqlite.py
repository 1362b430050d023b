"""Write rows to a table in a SQLite file. Its primary key identifies the event, so duplicates are ignored.

This includes events that Twilio itself sent twice.
"""

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

BUSY = 2.0  # seconds to wait for another writer of the file; after that, delivery backs off and retries
AT_ONCE = 1_000  # rows in memory at once; a batch may be larger and on disk
NOT_STORABLE = (OverflowError, UnicodeError, sqlite3.DataError, sqlite3.InterfaceError)
LOST = "to write missing rows again, read the stream from that time with --application NEW"
Values = list[Any]


class Options(BaseModel, extra="forbid"):
    """This sink has no options."""


def connect(url: Url, options: Options, contents: SinkSchema) -> "SqliteSink":
    """Return the sink for a URL; `check` creates the file."""
    require_sqlite(url.label)
    if not url.path:
        raise ConfigurationError(f"{url.label} sqlite: name a file, such as sqlite:rows.db")
    return SqliteSink(Path(url.path), contents, url.label)


class SqliteSink:
    """One table, written in one transaction per batch that is durable on return (WAL, synchronous=FULL)."""

    limits = BatchLimits(rows=1_000, bytes=4 * 1024 * 1024, age=1.0)
    repeats = Deduplication.BY_ROW

    def __init__(self, file: Path, contents: SinkSchema, label: str = "--sink") -> None:
        self._named, self._contents = f"{label} {file}", contents
        self._file = SqliteFile(file, label, self._prepare, SinkUnavailable, BUSY, contents.private, LOST)
        marks = ", ".join("?" * len(contents.fields))
        self._insert = f"INSERT INTO {contents.name} VALUES ({marks}) ON CONFLICT DO NOTHING"

    def check(self) -> None:
        self._file.check()

    def write(self, batch: Batch) -> int:
        """Insert the batch in one transaction. Only a part of it is in memory at once."""
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
        """Return False: the table does not store batch names."""
        return False

    def close(self) -> None:
        self._file.close()

    def _prepare(self, connection: sqlite3.Connection, _new: bool) -> None:
        """Create the table if it is missing: the file may be new, or replaced while the worker runs."""
        name, fields, key = self._contents.name, ", ".join(self._contents.fields), ", ".join(self._contents.key)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({fields}, PRIMARY KEY ({key}))")
        found = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
        if found != self._contents.fields:
            raise ConfigurationError(f"{self._named}: table {name} has other columns; name another file")
        connection.execute(f"DELETE FROM {name} WHERE FALSE")  # fails if the file is read-only

    def _values(self, line: bytes) -> Values:
        row = msgspec.json.decode(line)
        return [_stored(row.get(field)) for field in self._contents.fields]

    def _insert_all(self, connection: sqlite3.Connection, rows: Sequence[Values]) -> Iterator[tuple[int, str]]:
        """Insert all rows at once, or one by one if SQLite cannot store one. Yield index and reason of such rows."""
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
    """Return a value that SQLite can store; lists and objects become JSON text."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value
