"""Describe SQLite's errors for operators, and tell permanent errors from temporary ones."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from consumer.files.disk import reason_of


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of SQLite error: its code, SQLite's text, our message, and whether only an operator can resolve it."""

    code: int
    text: str
    words: str
    permanent: bool = False


KINDS = (
    Kind(sqlite3.SQLITE_BUSY, "database is locked", "the database is locked by another process"),
    Kind(sqlite3.SQLITE_LOCKED, "is locked", "the database is locked by another connection"),
    Kind(sqlite3.SQLITE_FULL, "disk is full", "the disk is full, or a quota or limit is reached"),
    Kind(sqlite3.SQLITE_IOERR, "disk I/O error", "disk I/O error"),
    Kind(sqlite3.SQLITE_NOMEM, "out of memory", "out of memory"),
    Kind(
        sqlite3.SQLITE_READONLY, "readonly database", "readonly database: make the file and its folder writable", True
    ),
    Kind(sqlite3.SQLITE_PERM, "permission denied", "permission denied", True),
    Kind(sqlite3.SQLITE_AUTH, "not authorized", "not authorized", True),
    Kind(sqlite3.SQLITE_CORRUPT, "malformed", "the database is malformed: restore it or move it away", True),
    Kind(sqlite3.SQLITE_NOTADB, "not a database", "the file is not a database", True),
    Kind(sqlite3.SQLITE_CANTOPEN, "unable to open", "unable to open the file", True),
)


def kind_of(error: Exception) -> Kind | None:
    """Return the kind of an error, or None if it is not listed."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    for kind in KINDS:
        if kind.code == code or (not code and kind.text in str(error)):
            return kind
    return None


def is_busy(error: Exception) -> bool:
    """Return whether another connection is writing. This connection can then be kept."""
    kind = kind_of(error) if isinstance(error, sqlite3.Error) else None
    return kind is not None and kind.code == sqlite3.SQLITE_BUSY


def is_permanent(error: sqlite3.Error) -> bool:
    """Return whether retrying cannot help."""
    kind = kind_of(error)
    return kind is None or kind.permanent


def words_of(error: sqlite3.Error, file: Path) -> str:
    """Return a message for the operator. Show unlisted errors only by name: their text may quote a value."""
    kind = kind_of(error)
    if kind is not None and kind.code == sqlite3.SQLITE_CANTOPEN:
        return _why_not_opened(file) or kind.words
    if kind is not None:
        return kind.words
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        lost = "; a program removed it with what it held, see docs/reading-again.md"
        # SQLite quotes our own statement, which contains no values.
        return f"{error}{lost if 'no such table' in str(error) else ''}"
    return str(getattr(error, "sqlite_errorname", type(error).__name__))


def _why_not_opened(file: Path) -> str:
    """Return why a file cannot be opened, which SQLite does not report. Return "" if no reason is found."""
    folder = file.absolute().parent
    if not folder.is_dir():
        return f"the directory {folder} does not exist: create it, or name another file"
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"{folder} is on a read-only file system: name another file"
    except OSError as error:
        return reason_of(error)
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"no permission to write in the directory {folder}: name another file"
    if file.exists() and not os.access(file, os.R_OK | os.W_OK):
        return "no permission to read and write the file"
    return ""
