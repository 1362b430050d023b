"""Encode rows as Parquet: typed columns, compressed with zstd, in row groups that readers can skip."""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import IO, Any, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from consumer.sinks import Rows, SinkSchema
from schemas.call_request import CallRequest

# A row group ends at the first of these. Larger groups compress better, but all of one is in memory.
GROUP_ROWS, GROUP_BYTES = 50_000, 32 * 1024 * 1024
# Rows that are converted at once. Their values exist twice meanwhile.
PART_ROWS = 2_000
TIME = pa.timestamp("ms", tz="UTC")
TIMES = ("event_time", "occurred_at", "requested_at", "responded_at", "arrived_at")


def write_parquet(rows: Rows, out: IO[bytes], contents: SinkSchema) -> None:
    """Write rows as one Parquet file. Only one row group is in memory at once."""
    columns = columns_of(contents)
    with pq.ParquetWriter(out, columns, compression="zstd") as writer:
        for group in _groups(rows, contents, columns):
            writer.write_table(group, row_group_size=len(group))


def columns_of(contents: SinkSchema) -> pa.Schema:
    """Return a column per field: times in UTC, integers, lists of text, JSON, and text for all others."""
    types = get_type_hints(CallRequest)
    return pa.schema([pa.field(name, _type(name, contents, types.get(name))) for name in contents.fields])


def _type(name: str, contents: SinkSchema, hint: Any) -> pa.DataType:
    if name in TIMES:
        return TIME
    if name in contents.json:
        return pa.json_()
    if name in contents.lists:
        return pa.list_(pa.string())
    return pa.int64() if hint in (int, int | None) else pa.string()


def _groups(rows: Rows, contents: SinkSchema, columns: pa.Schema) -> Iterator[pa.Table]:
    """Yield the row groups of a file. Without rows there is none."""
    parts: list[pa.RecordBatch] = []
    count = size = 0
    for part, length in _parts(rows, contents):
        parts.append(_record_batch(part, columns))
        count, size = count + len(part), size + length
        if count >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.Table.from_batches(parts, columns)
            parts, count, size = [], 0, 0
    if parts:
        yield pa.Table.from_batches(parts, columns)


def _parts(rows: Rows, contents: SinkSchema) -> Iterator[tuple[list[Any], int]]:
    """Yield rows to convert at once, and the bytes of their lines."""
    part: list[Any] = []
    size = 0
    for block in rows:
        part += contents.rows(block)
        size += len(block.lines)
        if len(part) >= PART_ROWS or size >= GROUP_BYTES:
            yield part, size
            part, size = [], 0
    if part:
        yield part, size


def _record_batch(rows: Sequence[Any], columns: pa.Schema) -> pa.RecordBatch:
    arrays = [_column([*map(attrgetter(column.name), rows)], column.type) for column in columns]
    return pa.record_batch(arrays, columns)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == TIME:
        return pa.array(values, pa.string()).cast(TIME)
    if kind == pa.json_():
        return pa.ExtensionArray.from_storage(kind, pa.array([*map(_json, values)], pa.string()))
    if kind == pa.string():
        return pa.array([*map(_text, values)], kind)
    return pa.array(values, kind)


def _json(value: Any) -> bytes | None:
    """Return the encoded JSON of a value; None if it is null."""
    encoded = None if value is None else bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    return None if encoded == b"null" else encoded


def _text(value: Any) -> str | bytes | None:
    return value if value is None or isinstance(value, str) else _json(value)
