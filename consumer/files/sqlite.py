"""Use a SQLite file for sinks and lease tables: durable, optionally private, and never a deleted file.

SQLite silently continues to write to a file that was deleted or replaced. So compare device and inode before and after
each use, also for the `-wal` and `-shm` files.
"""

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from consumer.errors import ConfigurationError, ConsumerError, Retryable
from consumer.files.disk import Identity, at_start, identity_of, reason_of, sync_folder, try_block
from consumer.files.sqlite_errors import is_busy, is_permanent, words_of

OLDEST = (3, 35)  # UPDATE … FROM came with 3.33, RETURNING with 3.35
BESIDE = ("-wal", "-shm", "-journal")
# Create or check the table on a connection. The flag is True when this process has not used the file before.
Prepare = Callable[[sqlite3.Connection, bool], None]


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


class _Moved(Exception):
    """The path no longer leads to the file that was opened."""


@dataclass
class _Slot:
    """A connection, if open, and the lock that its user holds."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: sqlite3.Connection | None = None


class SqliteFile:
    """A SQLite file with two connections, so that a long read never delays a write. Thread-safe.

    Every error is raised as `unavailable`, except that `check` raises ConfigurationError for permanent ones.
    """

    def __init__(
        self,
        file: Path,
        label: str,
        prepare: Prepare,
        unavailable: type[Retryable],
        timeout: float,
        private: bool = False,
    ) -> None:
        self._file, self._label, self._prepare = file, label, prepare
        self._unavailable, self._timeout, self._private = unavailable, timeout, private
        self._writer, self._reader = _Slot(), _Slot()
        self._opening = threading.Lock()
        self._used = False
        self._seen: Mapping[Path, Identity] = {}  # the files of the open connections

    def check(self) -> None:
        """Open the file, or create it if it is missing.

        Raises:
            ConfigurationError: the file cannot be used until an operator changes something.
            Retryable: of the class `unavailable`, if the file cannot be used now.
        """
        with self._using(self._writer, starting=True):
            try_block(self._file.absolute().parent)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction: commit durably at the end, or roll back on an error."""
        with self._using(self._writer) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # on a full disk SQLite has rolled back already
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for reading committed data."""
        with self._using(self._reader) as connection:
            yield connection

    def close(self) -> None:
        """Wait until both connections are unused, then close them."""
        with self._writer.lock, self._reader.lock:
            for slot in (self._writer, self._reader):
                if slot.connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        slot.connection.close()
                    slot.connection = None
            self._seen = {}

    # Errors ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _using(self, slot: _Slot, starting: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with slot.lock:
                if slot.connection is None:
                    slot.connection = self._open()
                self._compare()
                yield slot.connection
                self._compare()
        except (_Moved, sqlite3.Error, OSError, ValueError, OverflowError) as error:
            if not is_busy(error):
                self.close()  # a new connection may not have the problem
            raise self._translated(error, starting) from None
        except ConfigurationError as error:
            raise error if starting else self._unavailable(str(error)) from None

    def _translated(self, error: Exception, starting: bool) -> ConsumerError:
        named = f"{self._label} {self._file}"
        if isinstance(error, _Moved):
            return self._unavailable(f"{self._label} {error}")
        if isinstance(error, sqlite3.Error):
            permanent, message = is_permanent(error), f"{named}: {words_of(error, self._file)}"
            return ConfigurationError(message) if starting and permanent else self._unavailable(message)
        message = f"{named}: {reason_of(error)}"
        return at_start(error, message, self._unavailable) if starting else self._unavailable(message)

    # Files -----------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        with self._opening:
            if self._file.is_dir():
                raise IsADirectoryError(errno.EISDIR, "this is a directory: name a file")
            if self._used and identity_of(self._file) is None:
                raise _Moved(_deleted(self._file, self._file))
            if self._private and not self._used:
                _make_private(self._file)
            before = identity_of(self._file)
            connection = _connected(self._file, "rw" if self._used else "rwc", self._timeout)
            try:
                self._settle(connection, before)
            except BaseException:
                connection.close()
                raise
            return connection

    def _settle(self, connection: sqlite3.Connection, before: Identity | None) -> None:
        """Make a new connection durable, prepare its table, and remember the identity of its files."""
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if not self._seen:
            self._prepare(connection, not self._used)
            sync_folder(self._file.absolute().parent)
        connection.execute("PRAGMA schema_version").fetchone()  # makes SQLite open the -wal and -shm files
        now = {path: found for path in _files(self._file) if (found := identity_of(path)) is not None}
        if before not in (None, now.get(self._file)):
            raise _Moved(_replaced(self._file))
        self._compare()
        self._seen, self._used = {**self._seen, **now}, True

    def _compare(self) -> None:
        for path, identity in self._seen.items():
            found = identity_of(path)
            if found is None:
                raise _Moved(_deleted(path, self._file))
            if found != identity:
                raise _Moved(_replaced(path))


def _connected(file: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Connect to a file by its literal path, never `:memory:` or a URI. The mode is `ro`, `rw` or `rwc`."""
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _files(file: Path) -> list[Path]:
    """Return the file and its -wal and -shm files, which are next to the target of a symbolic link."""
    real = os.path.realpath(file)
    return [file, *(Path(f"{real}{suffix}") for suffix in BESIDE[:2])]


def _deleted(path: Path, file: Path) -> str:
    if path != file:
        return f"{path}: deleted while in use, with data that {file} does not hold yet: opening {file} again to save it"
    return (
        f"{path}: deleted or moved while in use; nothing is written: put it back, or restart this worker to create"
        " a new file"
    )


def _replaced(path: Path) -> str:
    return f"{path}: replaced by another file while in use; earlier data is in the old file: opening the new one"


def _make_private(file: Path) -> None:
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
    connection = _connected(file, "ro&immutable=1", 0.0)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            return False
        raise
    finally:
        connection.close()
    return True
