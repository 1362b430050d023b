"""Check the SQLite library and the content of a database."""

import sqlite3

from consumer.errors import ConfigurationError

OLDEST = (3, 35)  # UPDATE … FROM came with 3.33, RETURNING with 3.35


def require_sqlite(label: str) -> None:
    """Check that the SQLite library has the statements that this program uses.

    Raises:
        ConfigurationError: the library is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"{label} sqlite: needs SQLite {OLDEST[0]}.{OLDEST[1]} or newer, and this Python has"
            f" {sqlite3.sqlite_version}: use another Python, or name another place"
        )


def require_whole(connection: sqlite3.Connection) -> None:
    """Read all content and compare tables with their indexes.

    Raises:
        sqlite3.DatabaseError: the database is malformed.
    """
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("malformed")
