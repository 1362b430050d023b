"""Use a SQLite file for sinks and lease tables: durable, optionally private, and never one that others changed.

SQLite silently continues to write to a file that was deleted, replaced or overwritten. So compare the files before and
after each use and before each commit, also the `-wal` and `-shm` files.
"""

import contextlib
import errno
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from consumer.errors import ConfigurationError, ConsumerError, Retryable
from consumer.files.disk import Identity, at_start, identity_of, reason_of, sync_folder, try_block
from consumer.files.open_paths import Moved, OpenPaths, deleted
from consumer.files.private import connected, make_private
from consumer.files.sqlite_checks import require_whole
from consumer.files.sqlite_errors import is_busy, is_permanent, words_of
from consumer.files.sqlite_guard import ChangedOutside, Guard, guard_of, released

# Create or check the table on a connection. The flag is True when this process has not used the file before.
Prepare = Callable[[sqlite3.Connection, bool], None]


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
        advice: str = "",
        page_size: int = 4096,
    ) -> None:
        """Use `file`. `advice` tells the operator what to do when data in it was lost.

        `page_size`: bytes of a page, if the file is new.
        """
        self._page_size = page_size
        self._file, self._label, self._prepare, self._advice = file, label, prepare, advice
        self._unavailable, self._timeout, self._private = unavailable, timeout, private
        self._writer, self._reader = _Slot(), _Slot()
        self._used = self._damaged = False
        self._paths = OpenPaths(file)
        self._guard: Guard | None = None
        _FILES.add(self)

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
                self._compare()
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
        with _all_unused([self]), contextlib.suppress(OSError):
            self._disconnect()

    # Closing ---------------------------------------------------------------------------------------------------------

    def _drop(self, error: Exception) -> Exception:
        """Close the connections: new ones may not have the problem. Return the error, or its cause if that is known."""
        cause, sharing = self._outside_change(), [self]
        if isinstance(
            cause or error, ChangedOutside | Moved
        ):  # SQLite lets all connections of a process share an index
            sharing += [file for file in list(_FILES) if file is not self and file._shares(self._guard)]
        try:
            with _all_unused(sharing):
                for file in sharing:
                    file._disconnect()
        except OSError as another:
            return another
        return cause or error

    def _shares(self, guard: Guard | None) -> bool:
        mine = self._guard
        return mine is not None and guard is not None and mine.identity == guard.identity

    def _disconnect(self) -> None:
        """Close the connections. Keep SQLite from checkpointing if the file has other content than it knows."""
        with ExitStack() as closing:
            if self._guard is not None:
                closing.enter_context(released(self._guard))
                cause = self._outside_change()
                self._damaged = self._damaged or cause is not None
                self._guard.restore_index()
                if cause is not None and cause.lost:
                    closing.callback(self._guard.set_aside)
                    closing.enter_context(self._guard.without_checkpoint())
                else:
                    self._save_log()
            for slot in (self._writer, self._reader):
                if slot.connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        slot.connection.close()
                    slot.connection = None
            self._paths.forget()
            self._guard = None

    def _save_log(self) -> None:
        """Copy the -wal file into the database: a close does not while another process uses the file."""
        for connection in (self._writer.connection, self._reader.connection):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _outside_change(self) -> ChangedOutside | None:
        try:
            if self._guard is not None:
                self._guard.compare()
        except ChangedOutside as error:
            return error
        except OSError:
            return None
        return None

    # Errors ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _using(self, slot: _Slot, starting: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with slot.lock:
                self._compare()
                if slot.connection is None:
                    slot.connection = self._open()
                yield slot.connection
                self._compare()
        except (Moved, ChangedOutside, sqlite3.Error, OSError, ValueError, OverflowError) as error:
            cause = error if is_busy(error) else self._drop(error)
            raise self._translated(cause, starting) from None
        except ConfigurationError as error:
            raise error if starting else self._unavailable(str(error)) from None

    def _translated(self, error: Exception, starting: bool) -> ConsumerError:
        named = f"{self._label} {self._file}"
        if isinstance(error, Moved):
            return self._unavailable(f"{self._label} {error}")
        if isinstance(error, ChangedOutside):
            lost = f"; what was written before may be missing; {self._advice}" if error.lost else ""
            return self._unavailable(f"{named}: {error}{lost}")
        if isinstance(error, sqlite3.Error):
            permanent, message = is_permanent(error), f"{named}: {words_of(error, self._file)}"
            return ConfigurationError(message) if starting and permanent else self._unavailable(message)
        message = f"{named}: {reason_of(error)}"
        return at_start(error, message, self._unavailable) if starting else self._unavailable(message)

    # Files -----------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        with _OPENING:
            if self._file.is_dir():
                raise IsADirectoryError(errno.EISDIR, "this is a directory: name a file")
            if self._used and identity_of(self._file) is None:
                raise deleted(self._file, self._file)
            if self._private and not self._used:
                make_private(self._file)
            before = identity_of(self._file)
            connection = connected(self._file, "rw" if self._used else "rwc", self._timeout)
            try:
                self._settle(connection, before)
            except BaseException:
                connection.close()
                raise
            return connection

    def _settle(self, connection: sqlite3.Connection, before: Identity | None) -> None:
        """Make a new connection durable, prepare its table, and remember the identity of its files."""
        connection.execute(f"PRAGMA page_size={self._page_size}")
        journal = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        if first := self._paths.empty:
            self._prepare(connection, not self._used)
            sync_folder(self._file.absolute().parent)
        connection.execute("PRAGMA schema_version").fetchone()  # makes SQLite open the -wal and -shm files
        if first and journal == ("wal",):
            self._watch(connection)
        self._paths.add(before)
        self._compare()
        self._used = True

    def _watch(self, connection: sqlite3.Connection) -> None:
        """Begin to guard the files. Check all content once if another program changed it."""
        if self._damaged:
            require_whole(connection)
        self._damaged = False
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # ends one that a killed process began
        self._guard = guard_of(self._file)

    def _compare(self) -> None:
        if self._guard is not None:
            self._guard.compare()
        self._paths.compare()


_FILES: "weakref.WeakSet[SqliteFile]" = weakref.WeakSet()
_OPENING = threading.Lock()


@contextmanager
def _all_unused(files: Iterable[SqliteFile]) -> Iterator[None]:
    """Wait until no connection of these files is used, and keep it so."""
    locks = [slot.lock for file in files for slot in (file._writer, file._reader)]
    with ExitStack() as held:
        for lock in sorted(locks, key=id):  # in one order everywhere, so that two threads never wait for each other
            held.enter_context(lock)
        yield
