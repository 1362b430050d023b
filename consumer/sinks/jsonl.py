"""Write JSON-lines files to a directory, one per batch. A file appears complete and never changes.

Rows go to `DIR/dt=2026-11-24/hour=05/SHARD-FIRST-LAST.jsonl`, dead letters to `….dead-letters`, so that `*.jsonl`
matches only rows. A file is written under a hidden name, fsynced, and linked to its final name. If that name exists,
the batch was written before, so each row exists exactly once.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.files.disk import Identity, at_start, identity_of, leads_to, reason_of, sync_folder, try_block
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows, SinkSchema
from consumer.sinks.unfinished import SUFFIX, Leftovers, created
from consumer.urls import Url

ROWS, DEAD_LETTERS = ".jsonl", ".dead-letters"
OLD_DEAD_LETTERS = ".dead-letters.jsonl"  # the suffix in earlier releases


class Options(BaseModel, extra="forbid"):
    """This sink has no options."""


def connect(url: Url, options: Options, contents: SinkSchema) -> "JsonlSink":
    """Return the sink for a URL; `check` creates the directory."""
    if not url.path:
        raise ConfigurationError(f"{url.label} jsonl: name a directory, such as jsonl:rows")
    return JsonlSink(Path(url.path), url.label, contents.private)


class JsonlSink:
    """A directory with one file per batch. The file's name tells whether the batch was written before."""

    limits = BatchLimits(rows=10_000, bytes=8 * 1024 * 1024, age=10.0)
    repeats = Deduplication.BY_BATCH
    rejects_rows = False

    def __init__(self, directory: Path, label: str = "--sink", private: bool = False) -> None:
        self._directory, self._named = directory, f"{label} {directory}"
        # Rows and dead letters may share a directory, so their batches need different suffixes.
        self._suffixes = (DEAD_LETTERS, OLD_DEAD_LETTERS) if private else (ROWS,)
        self._mode = 0o600 if private else 0o666
        self._leftovers = Leftovers(directory)
        self._identity: Identity | None = None
        self._settled: set[Path] = set()
        self._last: Path | None = None

    def check(self) -> None:
        try:
            self._begin()
            try_block(self._directory)
            self._try_link()
            self._leftovers.sweep()
        except (OSError, ValueError) as error:
            message = f"{self._named}: cannot write files and link them: {self._reason(error)}; name another directory"
            raise at_start(error, message, SinkUnavailable) from None

    def write(self, rows: Rows) -> int:
        final = self._directory / f"{rows.name}{self._suffixes[0]}"
        with self._translating():
            self._stay()
            self._leftovers.remove()
            self._settle(final.parent)
            if self._is_there(rows.name):
                sync_folder(final.parent)  # its writer may have been killed before syncing the folder
                return len(rows)
            repeated = self._make(final, rows)
            self._stay()
        self._last = final
        return repeated

    def holds(self, name: str) -> bool:
        with self._translating():
            self._stay()
            if there := self._is_there(name):
                folder = (self._directory / name).parent
                self._settle(folder)
                sync_folder(folder)
            return there

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _is_there(self, name: str) -> bool:
        return any((self._directory / f"{name}{suffix}").exists() for suffix in self._suffixes)

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

    def _make(self, final: Path, rows: Rows) -> int:
        """Write the file and link it. Return 0, or the batch's length if another writer was faster."""
        unfinished, repeated = final.with_name(f".{final.name}.{secrets.token_hex(8)}{SUFFIX}"), 0
        try:
            with created(unfinished, self._mode) as descriptor:
                size = _fill(descriptor, rows)
                self._require(descriptor, unfinished, size)
                os.link(unfinished, final)
                self._require_published(descriptor, final, size)
        except FileExistsError:
            repeated = len(rows)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        sync_folder(final.parent)
        return repeated

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


def _fill(descriptor: int, rows: Rows) -> int:
    """Write the lines durably. Return their size in bytes."""
    with open(descriptor, "wb", closefd=False) as file:
        size = sum(file.write(block.lines) for block in rows)
        file.flush()
        os.fsync(descriptor)
    return size
