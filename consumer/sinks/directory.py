"""Create files in a directory: each appears complete under its name and never changes.

A file is written under a hidden name, fsynced, and linked to its final name. If that name exists, the file was written
before.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from consumer.errors import SinkUnavailable
from consumer.files.disk import Identity, at_start, identity_of, leads_to, reason_of, sync_folder, try_block
from consumer.sinks.unfinished import SUFFIX, Leftovers, created


class Directory:
    """A directory whose files are created whole, durably, and never overwritten. Thread-safe.

    `label` is the setting that names it. `private`: only the owner may read the files.
    """

    def __init__(self, root: Path, label: str, private: bool = False) -> None:
        self._directory, self._named = root, f"{label} {root}"
        self._mode = 0o600 if private else 0o666
        self._leftovers = Leftovers(root)
        self._identity: Identity | None = None
        self._settled: set[Path] = set()
        self._last: Path | None = None

    def check(self) -> None:
        """Create the directory, and check that files can be written and linked.

        Raises:
            ConfigurationError: an operator has to change something.
            SinkUnavailable: it may work later.
        """
        try:
            self._begin()
            try_block(self._directory)
            self._try_link()
            self._leftovers.sweep()
        except (OSError, ValueError) as error:
            message = f"{self._named}: cannot write files and link them: {self._reason(error)}; name another directory"
            raise at_start(error, message, SinkUnavailable) from None

    def create(self, name: str, fill: Callable[[IO[bytes]], None], other_names: Sequence[str] = ()) -> bool:
        """Create a file from what `fill` writes. Return False if it, or one of `other_names`, exists already.

        Raises:
            SinkUnavailable: the file is created or not; the caller tries again.
        """
        final = self._directory / name
        with self._translating():
            self._stay()
            self._leftovers.remove()
            self._settle(final.parent)
            if self._is_there(name, *other_names):
                sync_folder(final.parent)  # its writer may have been killed before syncing the folder
                return False
            made = self._make(final, fill)
            self._stay()
        self._last = final
        return made

    def exists(self, *names: str) -> bool:
        """Return whether a file of one of these names exists. All are in one folder.

        Raises:
            SinkUnavailable: the directory cannot be read now.
        """
        with self._translating():
            self._stay()
            if there := self._is_there(*names):
                folder = (self._directory / names[0]).parent
                self._settle(folder)
                sync_folder(folder)
            return there

    def names(self) -> Iterator[str]:
        """Iterate over the relative paths of all files that are complete."""
        with self._translating():
            for folder, _, files in os.walk(self._directory, onerror=_raise):
                for name in files:
                    if not name.startswith("."):
                        yield str((Path(folder) / name).relative_to(self._directory))

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is none of this name."""
        with self._translating():
            try:
                return (self._directory / name).read_bytes()
            except FileNotFoundError:
                return None

    def replace(self, name: str, content: bytes) -> None:
        """Replace a file at once, or delete it if `content` is empty."""
        final = self._directory / name
        with self._translating():
            if content:
                unfinished = final.with_name(f".{final.name}.{secrets.token_hex(8)}{SUFFIX}")
                with created(unfinished, self._mode) as descriptor:
                    _filled(descriptor, lambda file: file.write(content))
                    unfinished.replace(final)
            else:
                final.unlink(missing_ok=True)
            sync_folder(final.parent)

    def _is_there(self, *names: str) -> bool:
        return any((self._directory / name).exists() for name in names)

    # The directory ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Create the directory and remember its identity."""
        missing = [path for path in (self._directory, *self._directory.absolute().parents) if not path.exists()]
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.absolute().parent)
        self._identity = identity_of(self._directory)

    def _stay(self) -> None:
        """Check that the directory is still the one that was there at the start.

        Do not create a missing one again: files in an unmounted disk's mount point would not reach any reader.
        """
        if self._identity is None:
            self._begin()
        found = identity_of(self._directory)
        if found is None:
            raise SinkUnavailable(
                f"{self._named}: deleted or moved while in use; nothing is written: put it back, create it, or"
                " restart this worker"
            )
        if found != self._identity:
            self._replaced(found)

    def _replaced(self, found: Identity) -> None:
        """Accept another directory on the same disk, or one that holds the last file; else the disk is unmounted."""
        same_disk = self._identity is not None and found[0] == self._identity[0]
        if same_disk or (self._last is not None and self._last.exists()):
            self._identity = found
            self._settled.clear()
            raise SinkUnavailable(f"{self._named}: replaced by another directory while in use: writing to that one now")
        raise SinkUnavailable(
            f"{self._named}: on another disk than before, without the last file; nothing is written: mount the disk"
            " again, or restart this worker"
        )

    def _settle(self, folder: Path) -> None:
        """Create a folder and sync it, even if it exists: its creator may have been killed before syncing it."""
        if folder in self._settled and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.parents):
            if path == self._directory:
                break
            sync_folder(path.parent)
        with contextlib.suppress(PermissionError):  # the parent directory may belong to another user
            sync_folder(self._directory.absolute().parent)
        self._leftovers.look_into(folder)
        self._settled.add(folder)

    # Files -----------------------------------------------------------------------------------------------------------

    def _make(self, final: Path, fill: Callable[[IO[bytes]], None]) -> bool:
        """Write the file and link it. Return False if another writer was faster."""
        unfinished, made = final.with_name(f".{final.name}.{secrets.token_hex(8)}{SUFFIX}"), True
        try:
            with created(unfinished, self._mode) as descriptor:
                size = _filled(descriptor, fill)
                self._require(descriptor, unfinished, size)
                os.link(unfinished, final)
                self._require_published(descriptor, final, size)
        except FileExistsError:
            made = False
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        sync_folder(final.parent)
        return made

    def _require(self, descriptor: int, path: Path, size: int) -> None:
        """Check that the path leads to the open file, and that it holds what was written.

        Raises:
            SinkUnavailable: another program changed it.
        """
        if os.fstat(descriptor).st_size != size or not leads_to(path, descriptor):
            raise SinkUnavailable(f"{self._named}: another program changed or removed {path.name} while it was written")

    def _require_published(self, descriptor: int, final: Path, size: int) -> None:
        """Check the file once more under its final name. Remove it if it is wrong: it would count as written."""
        try:
            self._require(descriptor, final, size)
        except SinkUnavailable:
            final.unlink(missing_ok=True)
            raise

    def _try_link(self) -> None:
        token = secrets.token_hex(8)
        probe, linked = (self._directory / f".{name}.{token}{SUFFIX}" for name in ("probe", "linked"))
        try:
            probe.touch()
            os.link(probe, linked)
        finally:
            for path in (probe, linked):
                with contextlib.suppress(OSError):
                    path.unlink()

    # Errors ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise SinkUnavailable(f"{self._named}: {reason_of(error)}") from None

    def _reason(self, error: Exception) -> str:
        return "it is a file" if isinstance(error, FileExistsError) else reason_of(error)


def _raise(error: OSError) -> NoReturn:
    raise error


def _filled(descriptor: int, fill: Callable[[IO[bytes]], object]) -> int:
    """Write the file durably. Return its size in bytes."""
    with open(descriptor, "wb", closefd=False) as file:
        fill(file)
        file.flush()
        os.fsync(descriptor)
        return file.tell()
