"""Remove unfinished files of killed writers, but not those of live writers.

A writer locks its unfinished file, and the lock ends with the process. So a file that can be locked has no writer on
this host. If locks do not reach other hosts, the age of the file protects it. If it is removed anyway, linking fails
and the batch is written again.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".tmp"
AGE = 60.0  # seconds since the last write, after which a file may be removed; writing one takes far less
SWEEP_TIME = 1.0  # seconds for the search at the start; the directory may hold folders of several years


@contextmanager
def created(path: Path, mode: int) -> Iterator[int]:
    """Create and lock a file, so that no `Leftovers` removes it. Yield its descriptor; close it at the end.

    Raises:
        OSError: the file cannot be created.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with contextlib.suppress(OSError):  # on a file system without locks the file's age protects it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class Leftovers:
    """The unfinished files of killed writers in one directory. Files that are too young are checked again later."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._young: set[Path] = set()

    def sweep(self) -> None:
        """Remove leftovers in all folders, newest first, for at most `SWEEP_TIME` seconds."""
        give_up = time.monotonic() + SWEEP_TIME
        with contextlib.suppress(OSError):
            for folder, folders, _ in os.walk(self._directory):
                folders.sort(reverse=True)
                self.look_into(Path(folder))
                if time.monotonic() > give_up:
                    return

    def look_into(self, folder: Path) -> None:
        """Find leftovers in one folder and remove those that are old enough."""
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            self._young.update(Path(entry.path) for entry in entries if _is_unfinished(entry.name))
        self.remove()

    def remove(self) -> None:
        """Remove the leftovers found so far that are old enough now. Ignore errors: no write depends on it."""
        for path in list(self._young):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime > time.time() - AGE:
                    continue
                _remove_unlocked(path)
            self._young.discard(path)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(SUFFIX)


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)  # NFS locks only files that are open for writing
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)
