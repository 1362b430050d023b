"""Write each batch to a separate CSV file: `csv:DIR` fills DIR/call_requests/dt=2026-11-24/hour=05/*.csv."""

import csv
import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile

from pydantic import BaseModel, Field

from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows, SinkSchema
from consumer.urls import Url


class Options(BaseModel, extra="forbid"):
    """The options of the URL, such as `csv:DIR?delimiter=;`."""

    delimiter: str = Field(",", min_length=1, max_length=1)


def connect(url: Url, options: Options, schema: SinkSchema) -> "CsvSink":
    """Return the sink for a URL. `check` creates the directory."""
    if not url.path:
        raise ConfigurationError(f"{url.label} csv: name a directory, such as csv:rows")
    return CsvSink(Path(url.path, schema.name), schema.fields, options.delimiter)


class CsvSink:
    """A directory of files. A file appears when its batch is complete, so its name tells that the batch is written."""

    limits = BatchLimits(rows=10_000, bytes=8 * 1024 * 1024, age=10.0)
    repeats = Deduplication.BY_BATCH
    rejects_rows = False

    def __init__(self, directory: Path, fields: tuple[str, ...], delimiter: str) -> None:
        self._directory, self._fields, self._delimiter = directory, fields, delimiter

    def check(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self._directory).close()
        except OSError as error:
            raise ConfigurationError(f"csv {self._directory}: {error.strerror}") from None

    def write(self, rows: Rows) -> int:
        try:
            return self._write(self._file(rows.name), rows)
        except OSError as error:
            raise SinkUnavailable(f"csv {self._directory}: {error.strerror}") from None

    def holds(self, name: str) -> bool:
        return self._file(name).exists()

    def close(self) -> None:
        """Do nothing: every file is closed when `write` returns."""

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.csv"

    def _write(self, file: Path, rows: Rows) -> int:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=file.parent, newline="", encoding="utf-8", errors="backslashreplace") as part:
            table = csv.DictWriter(part, self._fields, delimiter=self._delimiter)
            table.writeheader()
            for block in rows:
                table.writerows(map(_cells, block.lines.splitlines()))
            part.flush()
            os.fsync(part.fileno())
            try:
                os.link(part.name, file)
            except FileExistsError:
                return len(rows)
        _sync(file.parent)
        return 0


def _cells(line: bytes) -> dict[str, object]:
    """Return a row as CSV can hold it: lists and objects are JSON text."""
    row = json.loads(line)
    return {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in row.items()}


def _sync(directory: Path) -> None:
    """Make the new file's name durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
