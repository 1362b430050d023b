"""Notice that something other than SQLite changed a database while it is open, such as `: > rows.db` or `cp`.

SQLite does not notice: it keeps serving its cache, and its next checkpoint mixes old pages into the new content. In WAL
mode only a checkpoint writes the database, and the -shm file records each checkpoint. So compare the two. The -shm file
also tells how the -wal file must end.
"""

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consumer.files.disk import Identity, identity_of
from consumer.files.sqlite_index import INDEX, Index, Look, has_another_size, index_of, may_have_written

DATABASE_HEADER, WAL_HEADER, FRAME_HEADER = 100, 32, 24  # bytes
LOOKS = 5  # attempts to read all files between two changes by other processes
SHARED_LOCK = (0x40000002, 510)  # start and length of the bytes that each open connection locks


class ChangedOutside(Exception):
    """Something other than SQLite changed a file. `lost` tells whether committed data may be missing."""

    def __init__(self, how: str, lost: bool = True) -> None:
        super().__init__(how)
        self.lost = lost


class Guard:
    """The files of one database in WAL mode. All connections of a process share it, so it compares them often."""

    def __init__(self, names: Sequence[Path]) -> None:
        self._names = names
        self.users = 0
        self._files: list[_Descriptor] = []
        self._lock = threading.Lock()
        try:
            for path in names:
                self._files.append(_opened(path))
            self._last = self._look()
        except BaseException:
            self.close()
            raise

    @property
    def key(self) -> tuple[Identity | None, ...]:
        """Return the identities of the database, its -wal and its -shm file."""
        return tuple(file.identity for file in self._files)

    @property
    def identity(self) -> Identity:
        """Return the identity of the database file."""
        return self._files[0].identity

    def compare(self) -> None:
        """Compare the files with the last look.

        Raises:
            ChangedOutside: connections cannot be used any more.
        """
        with self._lock:
            before, now = self._last, self._look()
            truncated = now.shm_size < before.shm_size
            written = before.main != now.main and (truncated or not may_have_written(before.index, now.index))
            replaced = written and before.main[:2] != now.main[:2]
            if replaced or has_another_size(now) or self._was_set_aside():
                raise ChangedOutside("truncated, overwritten or restored by another program while in use")
            if not now.whole or (truncated and now.wal_size < before.wal_size):
                raise ChangedOutside("its -wal file was truncated or overwritten while in use")
            if truncated:
                raise ChangedOutside("its -shm file was truncated while in use: opening it again", lost=False)
            if written:
                raise ChangedOutside("another program wrote to it while in use: checking it", lost=False)
            self._last = now

    def _look(self) -> Look:
        main, wal, shm = self._files
        for _ in range(LOOKS):
            raw, found, log = shm.index(), os.fstat(main.number), os.fstat(wal.number)
            content = found.st_size, os.pread(main.number, DATABASE_HEADER, 0), found.st_mtime_ns
            index = index_of(raw)
            whole = index is None or self._ends_as(index)
            if index is not None and shm.index() == raw:
                break
        else:
            index, whole = None, True
        return Look(content, log.st_size, os.fstat(shm.number).st_size, index, whole)

    def _ends_as(self, index: Index) -> bool:
        """Return whether the -wal file holds the last frame that the index names."""
        if not index.frames:
            return True
        wal = self._files[1].number
        start = WAL_HEADER + (index.frames - 1) * (FRAME_HEADER + index.page_size)
        header, frame = os.pread(wal, WAL_HEADER, 0), os.pread(wal, FRAME_HEADER + index.page_size, start)
        complete = len(frame) == FRAME_HEADER + index.page_size
        return complete and header[16:24] == frame[8:16] == index.salts and frame[16:24] == index.checksum

    @contextmanager
    def without_checkpoint(self) -> Iterator[None]:
        """Keep SQLite from checkpointing while connections are closed.

        An open-file-description lock also blocks this process's own exclusive lock, which the checkpoint needs.
        """
        self._lock_shared(fcntl.F_RDLCK)
        try:
            yield
        finally:
            self._lock_shared(fcntl.F_UNLCK)

    def _lock_shared(self, kind: int) -> None:
        command = getattr(fcntl, "F_OFD_SETLK", None)  # Linux; on other systems the last close does checkpoint
        if command is not None:
            lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, *SHARED_LOCK, 0)
            fcntl.fcntl(self._files[0].number, command, lock)

    def restore_index(self) -> None:
        """Extend a truncated -shm file: SQLite's access to the missing part would end the process (SIGBUS).

        SQLite finds zeros there and rebuilds the index from the -wal file.
        """
        if os.fstat(self._files[2].number).st_size < self._last.shm_size and self._is_ours(2):
            os.truncate(self._names[2], self._last.shm_size)

    def set_aside(self) -> None:
        """Rename the -wal file and delete the -shm file, so that SQLite does not apply them to the new content."""
        if self._is_ours(1):
            os.replace(self._names[1], self._unused)
        if self._is_ours(2):
            os.unlink(self._names[2])

    @property
    def _unused(self) -> Path:
        return Path(f"{self._names[1]}.unused")

    def _was_set_aside(self) -> bool:
        """Return whether another worker noticed a change first."""
        return identity_of(self._unused) == self._files[1].identity

    def _is_ours(self, number: int) -> bool:
        return identity_of(self._names[number]) == self._files[number].identity

    def close(self) -> None:
        """Close the files. Call this after all connections are closed."""
        while self._files:
            _closed(self._files.pop())


# One of each per process ---------------------------------------------------------------------------------------------


@dataclass
class _Descriptor:
    """An open file of a database. All guards of one process share it."""

    number: int
    identity: Identity
    users: int = 0
    memory: mmap.mmap | None = None

    def index(self) -> bytes:
        """Return the index from shared memory, as SQLite reads it: on some file systems `read` returns old data."""
        if os.fstat(self.number).st_size < INDEX:  # access to a missing part ends the process
            return b""
        self.memory = self.memory or mmap.mmap(self.number, INDEX, prot=mmap.PROT_READ)
        return self.memory[:INDEX]


_LOCK = threading.RLock()
_DESCRIPTORS: dict[Identity, _Descriptor] = {}
_GUARDS: dict[tuple[Identity | None, ...], Guard] = {}


def guard_of(file: Path) -> Guard:
    """Return the guard of a file that SQLite has opened. End its use with `released`."""
    real = os.path.realpath(file)
    names = [Path(f"{real}{suffix}") for suffix in ("", "-wal", "-shm")]
    with _LOCK:
        guard = _GUARDS.get(tuple(identity_of(name) for name in names)) or Guard(names)
        _GUARDS[guard.key] = guard
        guard.users += 1
        return guard


@contextmanager
def released(guard: Guard) -> Iterator[None]:
    """Run the block, which closes connections, then end one use of the guard."""
    try:
        yield
    finally:
        with _LOCK:
            guard.users -= 1
            if not guard.users:
                del _GUARDS[guard.key]
                guard.close()


def _opened(path: Path) -> _Descriptor:
    """Open a file once per process: closing any descriptor of it releases all locks that SQLite has on it here."""
    with _LOCK:
        identity = identity_of(path)
        found = None if identity is None else _DESCRIPTORS.get(identity)
        if found is None:
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(number)
            found = _Descriptor(number, (status.st_dev, status.st_ino))
            _DESCRIPTORS[found.identity] = found
        found.users += 1
        return found


def _closed(descriptor: _Descriptor) -> None:
    with _LOCK:
        descriptor.users -= 1
        if not descriptor.users:
            del _DESCRIPTORS[descriptor.identity]
            if descriptor.memory is not None:
                descriptor.memory.close()
            os.close(descriptor.number)
