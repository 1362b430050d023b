"""Files that writers which were killed left behind, and how a writer that lives protects its own.

A writer locks its unfinished file, and the lock ends with the process. So a file that can be locked has no writer on
this host. Where locks do not reach another host its age protects it; removed all the same, it fails to be linked, and
its batch is written again.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".tmp"
AGE = 60.0  # seconds since the last write; writing a file takes far less
SWEEP_TIME = 1.0  # seconds that the search at the start may take; a directory may hold folders of years


@contextmanager
def created(path: Path, mode: int) -> Iterator[int]:
    """Create a file that no `Leftovers` takes for one of a killed writer; gives its descriptor.

    Raises:
        OSError: it cannot be created, or is gone again.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: the age protects it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class Leftovers:
    """The unfinished files of killed writers in one directory. Those that are too young are looked at again later."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._young: set[Path] = set()

    def sweep(self) -> None:
        """Remove them everywhere, in the newest folders first, for a second at most."""
        give_up = time.monotonic() + SWEEP_TIME
        with contextlib.suppress(OSError):
            for folder, folders, _ in os.walk(self._directory):
                folders.sort(reverse=True)
                self.look_into(Path(folder))
                if time.monotonic() > give_up:
                    return

    def look_into(self, folder: Path) -> None:
        """Remove those in one folder."""
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            self._young.update(Path(entry.path) for entry in entries if _is_unfinished(entry.name))
        self.remove()

    def remove(self) -> None:
        """Remove what has been found and is old enough by now. Never fails: nothing depends on it."""
        for path in list(self._young):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime > time.time() - AGE:
                    continue
                _remove_unlocked(path)
            self._young.discard(path)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(SUFFIX)


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)  # NFS locks only what is open for writing
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)
