"""Read the dead letters in a table of PostgreSQL, beside the workers that write there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumer.aws.access import Accesses
from consumer.dead_letters import Report, StoredDeadLetter
from consumer.dead_letters.stored import NotADeadLetter, from_values
from consumer.errors import ConfigurationError
from consumer.sinks.postgresql import Options, require_driver
from consumer.sinks.postgresql_schema import quoted
from consumer.urls import Url

if TYPE_CHECKING:
    import psycopg

TABLE = "dead_letters"
KEY = ("stream_name", "shard_id", "sequence_number", "sub_sequence_number", "event_index", "reason")
TEXTS = ("message", "partition_key", "data", "worker_version")
TIMES = ("arrived_at", "rejected_at")
RFC_3339 = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS {0}"""
TIMEOUT = 10.0  # seconds in which the server has to respond
AT_ONCE = 500  # rows that are fetched or deleted together

__all__ = ["Options", "connect"]


def connect(url: Url, options: Options, report: Report, accesses: Accesses) -> "PostgresqlStore":
    """Return the dead letters of a table. `accesses` serve `iam`."""
    require_driver(url.label)
    return PostgresqlStore(url, options, report, accesses)


class PostgresqlStore:
    """The table of dead letters, sorted by its primary key."""

    def __init__(self, url: Url, options: Options, report: Report, accesses: Accesses) -> None:
        from consumer.sinks.postgresql_login import parameters_of, password_source, shown

        self._parameters = parameters_of(url, options, TIMEOUT)
        self._read_anew = password_source(url.label, options, self._parameters, accesses)
        self._name = options.table or TABLE
        self._table = f"{quoted(options.schema_)}.{quoted(self._name)}"
        self._named, self._report = f"{shown(url.label, self._parameters)}: table {self._table}", report

    @property
    def ledger(self) -> Path:
        """Return a file in the current directory, because the table may be on another host."""
        return Path(f"{self._parameters.get('dbname') or 'postgresql'}.{self._name}.redriven.db")

    def letters(self) -> Iterator[StoredDeadLetter]:
        columns = ", ".join([*KEY, *TEXTS, *(RFC_3339.format(name) for name in TIMES)])
        with self._connected() as connection, connection.cursor("dead_letters") as cursor:
            cursor.itersize = AT_ONCE
            for row in cursor.execute(f"SELECT {columns} FROM {self._table} ORDER BY {', '.join(KEY)}"):
                try:
                    yield from_values(dict(zip((*KEY, *TEXTS, *TIMES), row, strict=True)))
                except NotADeadLetter as error:
                    self._report(f"{self._named}: sequence number {row[2]}: {error}: skipped")

    def delete(self, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        where = " AND ".join(f"{name} = %s" for name in KEY)
        keys = iter([letter.key for letter in self.letters() if chosen(letter)])  # reads to the end before it writes
        deleted = 0
        with self._connected() as connection, connection.cursor() as cursor:
            while part := list(islice(keys, AT_ONCE)):
                cursor.executemany(f"DELETE FROM {self._table} WHERE {where}", part)
                connection.commit()
                deleted += cursor.rowcount
        return deleted

    def close(self) -> None:
        """Do nothing: connections are closed after each use."""

    @contextmanager
    def _connected(self) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
        import psycopg

        from consumer.sinks.postgresql_errors import words_of

        try:
            with psycopg.connect(prepare_threshold=None, **self._parameters | self._read_anew()) as connection:
                yield connection
        except psycopg.Error as error:
            raise ConfigurationError(f"{self._named}: {words_of(error)}") from None
