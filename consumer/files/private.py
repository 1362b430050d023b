"""Open SQLite files by their path, and restrict them to their owner."""

import contextlib
import os
import sqlite3
from pathlib import Path

BESIDE = ("-wal", "-shm", "-journal")


def connected(file: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Connect to a file by its literal path, never `:memory:` or a URI. The mode is `ro`, `rw` or `rwc`."""
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def connected_for_reading(file: Path, timeout: float) -> sqlite3.Connection:
    """Connect to a file to read it. If possible open it for writing, so that SQLite undoes what a kill left behind."""
    connection = connected(file, "rw" if os.access(file, os.W_OK) else "ro", timeout)
    connection.execute("PRAGMA query_only=ON")
    return connection


def make_private(file: Path) -> None:
    """Restrict the file to its owner (mode 0600). SQLite gives its -wal and -shm files the same mode.

    Never open and close an existing file here: closing it would release this process's POSIX locks on it.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    except FileExistsError:
        pass
    if not _is_database(file):  # leave a file of another program unchanged
        return
    real = os.path.realpath(file)
    for path in (real, *(f"{real}{suffix}" for suffix in BESIDE)):
        with contextlib.suppress(FileNotFoundError):
            os.chmod(path, 0o600)


def _is_database(file: Path) -> bool:
    """Return False only for a file of another kind. Opening the file properly will report all other errors."""
    connection = connected(file, "ro&immutable=1", 0.0)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:  # also when another process checkpoints at this moment
        return getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB
    finally:
        connection.close()
    return True
