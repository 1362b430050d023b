"""Notice that the path of an open SQLite file leads to another file, or that a file beside it was deleted."""

import os
from collections.abc import Mapping
from pathlib import Path

from consumer.files.disk import Identity, identity_of
from consumer.files.private import BESIDE


class Moved(Exception):
    """The path no longer leads to the file that was opened; the text says why."""


class OpenPaths:
    """The paths of the files that open connections use. May be empty."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: Mapping[Path, Identity] = {}
        self._real = ""  # the path without symbolic links

    @property
    def empty(self) -> bool:
        """Return whether no connection is open."""
        return not self._seen

    def add(self, before: Identity | None) -> None:
        """Remember the files of a new connection.

        Raises:
            Moved: the file is not `before`, the one that was there when it was opened.
        """
        real = os.path.realpath(self._file)
        paths = [self._file, *(Path(f"{real}{suffix}") for suffix in BESIDE[:2])]  # beside the target of a link
        now = {path: found for path in paths if (found := identity_of(path)) is not None}
        if before not in (None, now.get(self._file)):
            raise _replaced(self._file)
        self.compare()
        self._real, self._seen = real, {**self._seen, **now}

    def forget(self) -> None:
        """Forget all files: the connections are closed."""
        self._seen = {}

    def compare(self) -> None:
        """Compare the files at the paths with those that were opened.

        Raises:
            Moved: a file was deleted, moved or replaced.
        """
        if self._seen and self._real != os.path.realpath(self._file):  # a new link to the same file: SQLite would look
            raise _replaced(self._file)  # for the -wal file elsewhere
        for path, identity in self._seen.items():
            found = identity_of(path)
            if found is None:
                raise deleted(path, self._file)
            if found != identity:
                raise _replaced(path)


def deleted(path: Path, file: Path) -> Moved:
    """Return the error for a deleted path, which is the file or one beside it."""
    if path != file:
        return Moved(
            f"{path}: deleted while in use, with data that {file} does not hold yet: opening {file} again to save it"
        )
    return Moved(
        f"{path}: deleted or moved while in use; nothing is written: put it back, or restart this worker to create"
        " a new file"
    )


def _replaced(path: Path) -> Moved:
    return Moved(f"{path}: replaced by another file while in use; earlier data is in the old file: opening the new one")
