"""Write JSON-lines files to a directory, one per batch. A file appears complete and never changes.

Rows go to `DIR/dt=2026-11-24/hour=05/SHARD-FIRST-LAST.jsonl`, dead letters to `….dead-letters`, so that `*.jsonl`
matches only rows. If the name of a batch exists, the batch was written before, so each row exists exactly once.
"""

from pathlib import Path
from typing import IO

from pydantic import BaseModel

from consumer.errors import ConfigurationError
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows, SinkSchema
from consumer.sinks.directory import Directory
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
        # Rows and dead letters may share a directory, so their batches need different suffixes.
        self._suffixes = (DEAD_LETTERS, OLD_DEAD_LETTERS) if private else (ROWS,)
        self._directory = Directory(directory, label, private)

    def check(self) -> None:
        self._directory.check()

    def write(self, rows: Rows) -> int:
        def fill(file: IO[bytes]) -> None:
            for block in rows:
                file.write(block.lines)

        name, *others = (f"{rows.name}{suffix}" for suffix in self._suffixes)
        return 0 if self._directory.create(name, fill, others) else len(rows)

    def holds(self, name: str) -> bool:
        return self._directory.exists(*(f"{name}{suffix}" for suffix in self._suffixes))

    def close(self) -> None:
        """Do nothing: no file stays open."""
