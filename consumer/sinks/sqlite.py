"""Write rows to a table in a SQLite file. Its primary key identifies the event, so duplicates are ignored.

This includes events that Twilio itself sent twice.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from consumer.errors import ConfigurationError, RowsRejected, SinkUnavailable
from consumer.files.sqlite import SqliteFile
from consumer.files.sqlite_checks import require_sqlite
from consumer.records import BatchLimits, Block
from consumer.sinks import Deduplication, Rows, SinkSchema
from consumer.sinks.sqlite_values import LONG, Values, ValuesOf, values_of_long
from consumer.urls import Url

BUSY = 2.0  # seconds to wait for another writer of the file; after that, delivery backs off and retries
PAGE = 16384  # bytes of a page: rows of a kilobyte or two take a third less CPU than in pages of 4096
NOT_STORABLE = (OverflowError, UnicodeError, sqlite3.DataError, sqlite3.InterfaceError)
LOST = "to write missing rows again, read the stream from that time with --application NEW"


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
    rejects_rows = True

    def __init__(self, file: Path, contents: SinkSchema, label: str = "--sink") -> None:
        self._named, self._contents = f"{label} {file}", contents
        self._file = SqliteFile(file, label, self._prepare, SinkUnavailable, BUSY, contents.private, LOST, PAGE)
        self._utf8 = True
        self._values = ValuesOf(contents)
        self._insert = self._statement([None] * len(contents.fields))

    def check(self) -> None:
        self._file.check()

    def write(self, rows: Rows) -> int:
        """Insert the rows in one transaction. Only a block of them is in memory at once."""
        rejected: dict[int, str] = {}
        start = 0
        with self._file.transaction() as connection:
            before = connection.total_changes
            for block in rows:
                rejected |= {start + index: why for index, why in self._insert_all(connection, block)}
                start += len(block)
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
        self._utf8 = connection.execute("PRAGMA encoding").fetchone() == ("UTF-8",)  # text is copied in this encoding
        connection.execute(f"DELETE FROM {name} WHERE FALSE")  # fails if the file is read-only

    def _insert_all(self, connection: sqlite3.Connection, block: Block) -> Iterator[tuple[int, str]]:
        """Insert all rows at once, or one by one if SQLite cannot store one. Yield index and reason of such rows."""
        if len(block) == 1 and len(block.lines) > LONG and self._utf8:
            values = [values_of_long(block.lines, self._contents.fields)]
        else:
            values = [self._values(row) for row in self._contents.rows(block)]
            try:
                connection.executemany(self._insert, values)
                return
            except NOT_STORABLE:
                pass
        for index, row in enumerate(values):
            try:
                connection.execute(self._statement(row), row)
            except NOT_STORABLE as error:
                yield index, f"SQLite cannot store it: {type(error).__name__}"

    def _statement(self, values: Values) -> str:
        """Return the statement that inserts a row. Text in a buffer needs a cast, or it would become a blob."""
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, bytes | memoryview) else "?" for value in values)
        return f"INSERT INTO {self._contents.name} VALUES ({marks}) ON CONFLICT DO NOTHING"
