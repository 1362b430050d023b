"""Write batches to PostgreSQL: COPY into a temporary table, then one INSERT in key order, in one transaction.

A small batch, or one by a user who may not create temporary tables, is the parameter of an INSERT. So are the parts of
a batch with a row that cannot be stored, which is found by bisecting.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import NamedTuple

import psycopg
from psycopg import errors

from consumer.aws.access import Accesses
from consumer.errors import ConfigurationError, RowsRejected, SinkUnavailable
from consumer.files.disk import reason_of
from consumer.records import Block
from consumer.sinks import Deduplication, Rows, Sink, SinkSchema
from consumer.sinks.postgresql import LIMITS, Options
from consumer.sinks.postgresql_connection import Connections, shared_connections
from consumer.sinks.postgresql_errors import CONFLICT, ROW, RULE, is_lasting, rule_of, why_rejected, words_of
from consumer.sinks.postgresql_insert import Inserts, Rejected, parts
from consumer.sinks.postgresql_login import parameters_of, password_source, shown
from consumer.sinks.postgresql_schema import Table
from consumer.sinks.postgresql_statements import TEMPORARY_ALLOWED, statements_for
from consumer.sinks.postgresql_table import prepare
from consumer.urls import Url

ATTEMPTS = 4  # after a deadlock or a serialization failure; then delivery backs off
FEW = 256 * 1024  # bytes of lines that need no temporary table


def create(url: Url, options: Options, schema: SinkSchema, table: Table, accesses: Accesses) -> Sink:
    """Return the sink for a URL.

    Raises:
        ConfigurationError: the URL is not valid.
    """
    parameters = parameters_of(url, options, schema.timeout)
    read_anew = password_source(url.label, options, parameters, accesses)
    connections = shared_connections(parameters, read_anew, schema.timeout)
    return PostgresqlSink(connections, table, shown(url.label, parameters), replace=options.on_conflict == "replace")


class PostgresqlSink:
    """One table, written in one transaction per batch."""

    limits = LIMITS
    repeats = Deduplication.BY_ROW
    rejects_rows = True

    def __init__(self, connections: Connections, table: Table, name: str, *, replace: bool) -> None:
        self._connections, self._table = connections, table
        self._named = f"{name}: table {table.namespace}.{table.name}"
        self._inserts = Inserts(statements_for(table, replace=replace))
        self._stages = True

    def check(self) -> None:
        """Create the table if it is missing; then insert no row, which the server allows only if it would allow one."""
        try:
            with self._connections.transaction() as connection:
                prepare(connection, self._table)
                self._inserts.lines(connection, b"")
                allowed = connection.execute(TEMPORARY_ALLOWED).fetchone()
        except psycopg.Error as error:
            kind = ConfigurationError if is_lasting(error) else SinkUnavailable
            raise kind(f"{self._named}: {words_of(error)}") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._named}: {error}") from None
        self._stages = allowed is not None and bool(allowed[0])

    def write(self, rows: Rows) -> int:
        with self._translating():
            for _ in range(1, ATTEMPTS):
                with suppress(*CONFLICT):
                    return self._write(rows)
            return self._write(rows)

    def holds(self, name: str) -> bool:
        """Return False: the table does not store batch names."""
        return False

    def close(self) -> None:
        self._connections.close_idle()

    def _write(self, rows: Rows) -> int:
        """Write the rows, and return the number of known ones."""
        blocks = iter(rows)
        first = _few(blocks)
        if first.more and self._stages:
            try:
                with self._connections.transaction() as connection:
                    return len(rows) - self._inserts.staged(connection, chain(first.blocks, blocks))
            except errors.InsufficientPrivilege:
                self._stages = False  # if it is another privilege, the next statement says so
            except (*ROW, *RULE):
                pass  # the parts show which rows
            return self._in_parts(rows, rows)
        return self._in_parts(rows, chain(first.blocks, blocks))

    def _in_parts(self, rows: Rows, blocks: Iterable[Block]) -> int:
        rejected: Rejected = {}
        start = fresh = 0
        with self._connections.transaction() as connection:
            for lines, number in parts(blocks):
                fresh += self._inserts.bisected(connection, lines, start, rejected)
                start += number
            self._require_some(rejected, start)
        repeated = start - len(rejected) - fresh
        if rejected:
            raise RowsRejected({index: why_rejected(error) for index, error in rejected.items()}, repeated)
        return repeated

    def _require_some(self, rejected: Rejected, total: int) -> None:
        """Check that a constraint or trigger does not reject every row: then it is wrong, and not the rows.

        Raises:
            SinkUnavailable: it does.
        """
        ruled = [error for error in rejected.values() if isinstance(error, RULE)]
        if ruled and len(rejected) == total:
            raise SinkUnavailable(f"{self._named}: a constraint or trigger rejects every row: {rule_of(ruled[0])}")

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            unavailable = SinkUnavailable(f"{self._named}: {words_of(error)}")
            unavailable.cause = self._named
            raise unavailable from None
        except (OSError, ValueError) as error:
            raise SinkUnavailable(f"{self._named}: {reason_of(error)}") from None
        except ConfigurationError as error:  # there were credentials of AWS at the start
            raise SinkUnavailable(f"{self._named}: {error}") from None


class _Few(NamedTuple):
    """The first blocks of a batch, and whether there may be more."""

    blocks: list[Block]
    more: bool


def _few(blocks: Iterator[Block]) -> _Few:
    """Take blocks until they are too large for a small batch, or there are no more."""
    taken: list[Block] = []
    size = 0
    for block in blocks:
        taken.append(block)
        size += len(block.lines)
        if size > FEW:
            return _Few(taken, True)
    return _Few(taken, False)
