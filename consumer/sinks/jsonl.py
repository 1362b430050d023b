"""A directory of complete JSON-lines files, one a batch, that appear whole and are never touched again.

`DIR/dt=2026-11-24/hour=05/SHARD-FIRST-LAST.jsonl` for rows, `….dead-letters` for dead letters, so that a reader of
`*.jsonl` finds rows alone. A file is written under a name that readers ignore, fsynced, and linked to its final name:
if that is taken the batch was written before, so each row is there exactly once.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from pydantic import BaseModel

from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.files.disk import Identity, at_start, identity_of, reason_of, sync_folder, try_block
from consumer.records import BatchLimits
from consumer.sinks import Batch, Deduplication, SinkSchema
from consumer.sinks.unfinished import SUFFIX, Leftovers, created
from consumer.urls import Url

SCHEMES = ("jsonl",)
ROWS, DEAD_LETTERS = ".jsonl", ".dead-letters"
OLD_DEAD_LETTERS = ".dead-letters.jsonl"  # their name in earlier releases
LINES_A_WRITE = 200  # a file's own buffer of 8 KiB would make it a system call every five lines


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: Url, options: Options, contents: SinkSchema) -> "JsonlSink":
    """Open the sink."""
    if not url.path:
        raise ConfigurationError(f"{url.label} jsonl: name a directory, such as jsonl:rows")
    return JsonlSink(Path(url.path), url.label, contents.private)


class JsonlSink:
    """Files in a directory; a batch's name says whether it is there already."""

    limits = BatchLimits(rows=10_000, bytes=8 * 1024 * 1024, age=10.0)
    repeats = Deduplication.BY_BATCH

    def __init__(self, directory: Path, label: str = "--sink", private: bool = False) -> None:
        self._directory, self._named = directory, f"{label} {directory}"
        # Rows and dead letters may share a directory: a batch of the one must not pass for a batch of the other.
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

    def write(self, batch: Batch) -> int:
        final = self._directory / f"{batch.name}{self._suffixes[0]}"
        with self._translating():
            self._stay()
            self._leftovers.remove()
            self._settle(final.parent)
            if self._is_there(batch.name):
                sync_folder(final.parent)  # who wrote it may have been killed before its own
                return len(batch)
            repeated = self._make(final, batch)
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
        """No file stays open."""

    def _is_there(self, name: str) -> bool:
        return any((self._directory / f"{name}{suffix}").exists() for suffix in self._suffixes)

    # The directory ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Make the directory; from now on it has to stay."""
        missing = [path for path in (self._directory, *self._directory.absolute().parents) if not path.exists()]
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.absolute().parent)
        self._identity = identity_of(self._directory)

    def _stay(self) -> None:
        """See that the directory is the one that was there at the start.

        Made again it would be empty: below the place of a disk that was unmounted, or where no reader looks any more.
        """
        if self._identity is None:
            self._begin()
        found = identity_of(self._directory)
        if found is None:
            raise SinkUnavailable(
                f"{self._named}: deleted or moved while in use; nothing is written: put it back, make it anew, or"
                " restart this worker"
            )
        if found != self._identity:
            self._replaced(found)

    def _replaced(self, found: Identity) -> None:
        """Go on in a directory made anew, not on another disk: unless that holds the last file, it is not ours."""
        same_disk = self._identity is not None and found[0] == self._identity[0]
        if same_disk or (self._last is not None and self._last.exists()):
            self._identity = found
            self._settled.clear()
            raise SinkUnavailable(f"{self._named}: replaced by another directory while in use: writing to that one now")
        raise SinkUnavailable(
            f"{self._named}: on another disk than before, without the last file; nothing is written: is it unmounted?"
            " Put it back, or restart this worker"
        )

    def _settle(self, folder: Path) -> None:
        """Make a folder of the directory last, whoever made it: the maker may have been killed before it was synced."""
        if folder in self._settled and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.parents):
            if path == self._directory:
                break
            sync_folder(path.parent)
        with contextlib.suppress(PermissionError):  # the directory above is somebody else's
            sync_folder(self._directory.absolute().parent)
        self._leftovers.look_into(folder)
        self._settled.add(folder)

    # Files -----------------------------------------------------------------------------------------------------------

    def _make(self, final: Path, batch: Batch) -> int:
        """Write the file and let it appear; returns how many of its rows somebody else has written meanwhile."""
        unfinished, repeated = final.with_name(f".{final.name}.{secrets.token_hex(8)}{SUFFIX}"), 0
        try:
            with created(unfinished, self._mode) as descriptor:
                _fill(descriptor, batch)
                os.link(unfinished, final)
        except FileExistsError:
            repeated = len(batch)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        sync_folder(final.parent)
        return repeated

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


def _fill(descriptor: int, batch: Batch) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        items = iter(batch)
        while lines := [item.line for item in islice(items, LINES_A_WRITE)]:
            file.write(b"\n".join([*lines, b""]))
        file.flush()
        os.fsync(descriptor)
