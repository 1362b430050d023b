"""The formats of an object: JSON lines, compressed JSON lines, and Parquet."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Literal

from consumer.errors import ConfigurationError
from consumer.sinks import Rows, SinkSchema

FormatName = Literal["jsonl.gz", "jsonl", "parquet"]
# Level 3 takes half the time of gzip's own 9 or less, and its output is about a tenth larger.
GZIP_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Format:
    """How an object is encoded.

    `suffix` ends the names of objects. `payload`: bytes in memory while an object is written, per byte of its rows.
    """

    suffix: str
    content_type: str
    payload: float
    write: Callable[[Rows, IO[bytes]], None]


def formats_of(schema: SinkSchema) -> Mapping[str, Format]:
    """Return every format of these rows by its suffix.

    Dead letters have other suffixes, so that a reader of `*.jsonl.gz` finds only rows. They have no Parquet.
    """
    lines, compressed = (".dead-letters", ".dead-letters.gz") if schema.private else (".jsonl", ".jsonl.gz")
    found = [
        Format(compressed, "application/gzip", 0.3, _write_compressed),
        Format(lines, "application/x-ndjson", 1.0, _write_lines),
    ]
    if not schema.private:
        found.append(Format(".parquet", "application/vnd.apache.parquet", 2.0, _parquet_writer(schema)))
    return {each.suffix: each for each in found}


def chosen(label: str, name: FormatName, schema: SinkSchema) -> str:
    """Return the suffix of the format that an option names.

    Raises:
        ConfigurationError: these rows have no such format, or its library is missing.
    """
    if name != "parquet":
        return list(formats_of(schema))[name == "jsonl"]
    if schema.private:
        raise ConfigurationError(f"{label}: format=parquet is for rows only: say format=jsonl.gz or format=jsonl")
    try:
        import pyarrow.parquet  # noqa: F401 - the start finds that it is missing, not the first batch
    except ImportError:
        raise ConfigurationError(
            f"{label}: format=parquet needs pyarrow: pip install 'call-request-consumer[parquet]'"
        ) from None
    return ".parquet"


def _write_lines(rows: Rows, out: IO[bytes]) -> None:
    for block in rows:
        out.write(block.lines)


def _write_compressed(rows: Rows, out: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=GZIP_LEVEL, mtime=0, filename="") as file:
        for block in rows:
            file.write(block.lines)


def _parquet_writer(schema: SinkSchema) -> Callable[[Rows, IO[bytes]], None]:
    def write(rows: Rows, out: IO[bytes]) -> None:
        from consumer.sinks.objects.parquet import write_parquet

        write_parquet(rows, out, schema)

    return write
