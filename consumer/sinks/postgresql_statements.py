"""The statements that write rows. The server takes JSON lines apart, so no value passes through Python.

This costs the worker a third of what typed values would cost, and the server twice as much: docs/benchmarks.md.
"""

from dataclasses import dataclass

from consumer.sinks.postgresql_schema import Table

STAGE = "pg_temp.call_consumer_batch"
CREATE_STAGE = "CREATE TEMPORARY TABLE call_consumer_batch (line text) ON COMMIT DROP"
# JSON holds no raw control characters, so with these two every line is one value as it is.
COPY = f"COPY {STAGE} FROM STDIN (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
# The lines of the parameter, without a newline at its end.
LINES = "unnest(string_to_array(convert_from(%b, 'UTF8'), E'\\n')) AS source (line)"
TEMPORARY_ALLOWED = "SELECT has_database_privilege(current_database(), 'TEMP')"


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements that insert rows: all of the staged ones, or those of a parameter. Each returns one number.

    The number counts the rows that were not in the table before.
    """

    staged: str
    lines: str


def statements_for(table: Table, *, replace: bool) -> Statements:
    """Return the statements for a table. With `replace` a row that exists gets the new values."""
    make = _replacing if replace else _ignoring
    return Statements(make(table, f"{STAGE} AS source"), make(table, LINES))


def begin(timeout: float) -> str:
    """Return what begins a transaction that is durable once it is committed.

    No statement, no wait for a lock and no pause between statements takes `timeout` seconds: a stopped worker holds its
    locks until the server ends its idle transaction. Keepalives end a COPY whose host is gone. SET LOCAL also works
    through PgBouncer.
    """
    milliseconds = round(timeout * 1000)
    return (
        "BEGIN ISOLATION LEVEL READ COMMITTED;"
        f"SET LOCAL statement_timeout = {milliseconds * 3 // 4};"
        f"SET LOCAL lock_timeout = {milliseconds // 2};"
        f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds // 2};"
        f"SET LOCAL tcp_keepalives_idle = {max(1, milliseconds // 4000)};"
        f"SET LOCAL tcp_keepalives_interval = {max(1, milliseconds // 4000)};"
        "SET LOCAL tcp_keepalives_count = 3;"
        "SET LOCAL jit = off;"  # compiling takes longer than a batch
        "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
    )


def _ignoring(table: Table, source: str) -> str:
    insert = _insert(table, _select(table, source))
    return _counted(f"{insert} ON CONFLICT ({', '.join(table.contents.key)}) DO NOTHING RETURNING true AS new")


def _replacing(table: Table, source: str) -> str:
    """Leave equal rows alone: each update of a row makes work for VACUUM. Leave `event` alone without --raw."""
    key = table.contents.key
    others = [field for field in table.contents.fields if field not in key] or list(key)
    old, new = (", ".join(f"{owner}.{name}" for name in others) for owner in ("old", "excluded"))
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    insert = _insert(table, _select(table, source, f"DISTINCT ON ({_order(table)}) "))
    return _counted(
        f"{insert} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
        f" WHERE ({old}) IS DISTINCT FROM ({new}) RETURNING old.xmax = 0 AS new"
    )


def _insert(table: Table, select: str) -> str:
    names = ", ".join(column.name for column in table.columns)
    return f"INSERT INTO {table.address} AS old ({names}) {select}"


def _select(table: Table, source: str, distinct: str = "") -> str:
    """Return the rows in key order: transactions that lock the same keys in the same order do not block each other."""
    values = ", ".join(f"x.{column.name}" for column in table.columns)
    types = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    parsed = f"json_to_record(source.line::json) AS x ({types})"
    return f"SELECT {distinct}{values} FROM {source}, {parsed} ORDER BY {_order(table)}"


def _order(table: Table) -> str:
    types = {column.name: column.type for column in table.columns}
    return ", ".join(f"x.{name}" + (' COLLATE "C"' if types[name] == "text" else "") for name in table.contents.key)


def _counted(insert: str) -> str:
    return f"WITH written AS ({insert}) SELECT count(*) FILTER (WHERE new) FROM written"
