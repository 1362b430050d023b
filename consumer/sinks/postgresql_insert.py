"""Insert the lines of a batch within a transaction: staged by COPY, or as a parameter."""

from collections.abc import Iterable, Iterator

import psycopg

from consumer.records import Block
from consumer.sinks.postgresql_connection import Connection
from consumer.sinks.postgresql_errors import ROW, RULE
from consumer.sinks.postgresql_statements import COPY, CREATE_STAGE, Statements
from consumer.sinks.postgresql_text import storable

PIECE = 256 * 1024  # bytes that are sent at once, because the driver copies them
PART = 1024 * 1024  # bytes of lines in one parameter; a longer line is a part alone
Rejected = dict[int, psycopg.Error]  # by the row's index in the batch


class Inserts:
    """Insert lines into one table. Each method returns the number of rows that the table did not have."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def staged(self, connection: Connection, blocks: Iterable[Block]) -> int:
        """Copy all blocks into a temporary table, then insert its rows at once.

        A stopped worker holds no lock while it copies, and the server ends an idle transaction.
        """
        connection.execute(CREATE_STAGE)
        with connection.cursor().copy(COPY) as copy:
            for block in blocks:
                lines = storable(block.lines)
                for start in range(0, len(lines), PIECE):
                    copy.write(lines[start : start + PIECE])
        return _number(connection.execute(self._statements.staged))

    def lines(self, connection: Connection, lines: bytes) -> int:
        """Insert lines, which may be none."""
        return _number(connection.execute(self._statements.lines, (lines.removesuffix(b"\n"),)))

    def bisected(self, connection: Connection, lines: bytes, start: int, rejected: Rejected) -> int:
        """Insert lines except those that the table cannot hold. Add these to `rejected`, counted from `start`."""
        pending, fresh = [(start, lines)], 0
        connection.execute("SAVEPOINT rows")
        while pending:
            first, some = pending.pop()
            try:
                fresh += self.lines(connection, some)
            except (*ROW, *RULE) as error:
                connection.execute("ROLLBACK TO rows")
                rows = some.splitlines(keepends=True)
                if len(rows) == 1:
                    rejected[first] = error
                else:
                    pending += reversed(list(_divided(first, rows)))
            else:
                if pending:
                    connection.execute("RELEASE rows; SAVEPOINT rows")
        return fresh


def _divided(first: int, rows: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield smaller parts of rows that cannot be inserted together, each with the index of its first row."""
    size = max(1, len(rows) // 8)
    for start in range(0, len(rows), size):
        yield first + start, b"".join(rows[start : start + size])


def parts(blocks: Iterable[Block]) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of consecutive blocks, and their number. Each part has at most about `PART` bytes."""
    part: list[bytes] = []
    rows = size = 0
    for block in blocks:
        if part and size + len(block.lines) > PART:
            yield b"".join(part), rows
            part, rows, size = [], 0, 0
        part.append(storable(block.lines))
        rows, size = rows + len(block), size + len(block.lines)
    if part:
        yield b"".join(part), rows


def _number(cursor: "psycopg.Cursor[tuple[int]]") -> int:
    [number] = cursor.fetchone() or (0,)
    return number
