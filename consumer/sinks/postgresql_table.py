"""Create a sink's table, or check that the one that exists is ours."""

from zlib import crc32

from consumer.errors import ConfigurationError
from consumer.sinks.postgresql_connection import Connection
from consumer.sinks.postgresql_schema import VERSION, Table

# One row per column: the table's kind and comment, the column's name and type, and whether an INSERT must name it.
LOOK = """
SELECT c.relkind, obj_description(c.oid, 'pg_class'), a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relname = %s ORDER BY a.attnum
"""
OTHER = "drop or rename it, or name another table by ?table="


def prepare(connection: Connection, table: Table) -> None:
    """Create the table if it is missing.

    Raises:
        ConfigurationError: a table of that name is not ours, or of another version.
    """
    if not _is_there(connection, table):
        # One worker creates the tables of a schema, and perhaps the schema; the others wait and find them.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (crc32(table.namespace.encode()),))
        if not _is_there(connection, table):
            _create(connection, table)


def _create(connection: Connection, table: Table) -> None:
    found = connection.execute("SELECT to_regnamespace(%s) IS NULL", (f'"{table.namespace}"',)).fetchone()
    for statement in table.ddl(with_namespace=found is not None and bool(found[0])):
        connection.execute(statement)


def _is_there(connection: Connection, table: Table) -> bool:
    """Return whether the table exists.

    Raises:
        ConfigurationError: it is not ours, or of another version.
    """
    found = connection.execute(LOOK, (table.namespace, table.name)).fetchall()
    if not found:
        return False
    kind, comment = found[0][:2]
    version = table.version_in(comment)
    if version is None or kind != "r":
        raise ConfigurationError(f"another program made it, or it has lost its comment: {OTHER}")
    if version != VERSION:
        raise ConfigurationError(f"it has version {version}, and this program writes version {VERSION}: {OTHER}")
    if problem := table.problem_with({name: (kind, required) for _, _, name, kind, required in found}):
        raise ConfigurationError(f"{problem}: {OTHER}")
    return True
