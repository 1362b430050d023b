"""A directory of complete JSON-lines files, one a batch, that appear whole and are never touched again.

`DIR/dt=2026-11-24/hour=05/SHARD-FIRST-LAST.jsonl` for rows, `….dead-letters.jsonl` for dead letters. A file is written
under a name that readers ignore, fsynced, and linked to its final name; if that name is taken the batch was written
before, so each row is there exactly once.
"""

import contextlib
import os
import secrets
from itertools import islice
from pathlib import Path

from pydantic import BaseModel

from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.places import PlaceUrl
from consumer.records import BatchLimits
from consumer.sinks import Batch, Contents, Repeats

SCHEMES = ("jsonl",)
LINES_A_WRITE = 200  # a file's own buffer of 8 KiB would make it a system call every five lines


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: PlaceUrl, options: Options, contents: Contents) -> "JsonlSink":
    """Open the sink."""
    if not url.path:
        raise ConfigurationError(f"{url.label} jsonl: name a directory, such as jsonl:rows")
    # Rows and dead letters may share a directory: a batch of the one must not pass for a batch of the other.
    suffix = ".dead-letters.jsonl" if contents.private else ".jsonl"
    return JsonlSink(Path(url.path), suffix, private=contents.private)


class JsonlSink:
    """Files in a directory; a batch's name says whether it is there already."""

    limits = BatchLimits(rows=10_000, bytes=8 * 1024 * 1024, age=10.0)
    repeats = Repeats.BY_BATCH

    def __init__(self, directory: Path, suffix: str = ".jsonl", private: bool = False) -> None:
        self._directory, self._suffix = directory, suffix
        self._mode = 0o600 if private else 0o666

    def check(self) -> None:
        probe = self._directory / f".probe.{secrets.token_hex(8)}"
        linked = probe.with_suffix(".linked")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            probe.touch()
            os.link(probe, linked)
        except OSError as error:
            raise ConfigurationError(f"{self._directory}: cannot write files and link them: {error.strerror}") from None
        finally:
            for path in (probe, linked):
                with contextlib.suppress(OSError):
                    path.unlink()

    def write(self, batch: Batch) -> int:
        final = self._directory / f"{batch.name}{self._suffix}"
        unfinished = final.with_name(f".{final.name}.{secrets.token_hex(8)}.tmp")
        try:
            if final.exists():
                return len(batch)
            self._make_folder(final.parent)
            self._fill(unfinished, batch)
            return self._publish(unfinished, final, len(batch))
        except OSError as error:
            raise SinkUnavailable(f"{self._directory}: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()

    def holds(self, name: str) -> bool:
        try:
            return (self._directory / f"{name}{self._suffix}").exists()
        except OSError as error:
            raise SinkUnavailable(f"{self._directory}: {error.strerror}") from None

    def close(self) -> None:
        """No file stays open."""

    def _make_folder(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            _sync_folder(path.parent)

    def _fill(self, path: Path, batch: Batch) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode)
        with open(descriptor, "wb") as file:
            items = iter(batch)
            while lines := [item.line for item in islice(items, LINES_A_WRITE)]:
                file.write(b"\n".join([*lines, b""]))
            file.flush()
            os.fsync(file.fileno())

    def _publish(self, unfinished: Path, final: Path, rows: int) -> int:
        try:
            os.link(unfinished, final)
        except FileExistsError:
            return rows
        _sync_folder(final.parent)
        return 0


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
