"""A SQLite file as sinks and lease tables use it: durable, private where asked, never a file that is no longer there.

SQLite goes on writing to a file that was deleted or replaced, and says nothing. So device and inode are compared before
and after each use, those of the `-wal` and `-shm` files too.
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
# Give a table to a connection, or recognise it; True when this process has not used the file before.
Prepare = Callable[[sqlite3.Connection, bool], None]


def require_sqlite(label: str) -> None:
    """Refuse a SQLite library that lacks statements used here, before anything is written.

    Raises:
        ConfigurationError: it is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"{label} sqlite: needs SQLite {OLDEST[0]}.{OLDEST[1]} or newer, and this Python has"
            f" {sqlite3.sqlite_version}: use another Python, or name another place"
        )


class _Moved(Exception):
    """The file is not the one that was opened."""


@dataclass
class _Slot:
    """A connection and who uses it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: sqlite3.Connection | None = None


class SqliteFile:
    """One connection for writing and one for reading, so that a long read never holds up a write. Thread-safe.

    Every error leaves as `unavailable`; from `check` as `ConfigurationError` where waiting will not help.
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
        """Open the file, which is made if it is not there.

        Raises:
            ConfigurationError: it cannot be used, and waiting will not help.
            Retryable: of the class given; not now.
        """
        with self._using(self._writer, starting=True):
            try_block(self._file.absolute().parent)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block does, durably, or nothing of it."""
        with self._using(self._writer) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # SQLite ends it by itself when the disk is full
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read what is committed."""
        with self._using(self._reader) as connection:
            yield connection

    def close(self) -> None:
        """Close both connections, once nothing uses them."""
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
                self.close()  # what is wrong may be gone in a connection that is new
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
        """Make a new connection durable, give it its table, and keep in mind which files it has open."""
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if not self._seen:
            self._prepare(connection, not self._used)
            sync_folder(self._file.absolute().parent)
        connection.execute("PRAGMA schema_version").fetchone()  # opens the files beside it
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
    """Connect to a file: a path as it is, so neither `:memory:` nor a URI; modes are `ro`, `rw` and `rwc`."""
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _files(file: Path) -> list[Path]:
    """Return the file and those that SQLite keeps beside it while it is open: beside what a symbolic link names."""
    real = os.path.realpath(file)
    return [file, *(Path(f"{real}{suffix}") for suffix in BESIDE[:2])]


def _deleted(path: Path, file: Path) -> str:
    if path != file:
        return f"{path}: deleted while in use, with what {file} itself does not hold yet: opening it anew to save that"
    return (
        f"{path}: deleted or moved while in use; nothing is written: put it back, or restart this worker to begin"
        " a new file"
    )


def _replaced(path: Path) -> str:
    return f"{path}: replaced by another file while in use; what was written before is in the old one: opening it anew"


def _make_private(file: Path) -> None:
    """Make the file for its owner only before SQLite makes those beside it alike; it may hold rows already.

    An existing file is never opened and closed here: that would end the locks of this process on it.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    except FileExistsError:
        pass
    if not _is_database(file):  # somebody else's file is left as it is
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
