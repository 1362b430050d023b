"""Write rows as Parquet, and read them with pyarrow and DuckDB."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from consumer.adapters import connect_sinks
from consumer.records import Block
from consumer.settings import Settings
from consumer.sinks.objects import parquet
from schemas import examples
from tests.unit.example_rows import FOLDER

NAME = "dt=2026-01-01/hour=05/shard-1-2"
EXAMPLES = [json.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.json"))]
ROWS: list[dict[str, Any]] = [row for row in EXAMPLES if "skipped" not in row]


class Lines:
    """Rows in blocks of one."""

    name = NAME

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Any:
        return (Block(json.dumps(row).encode() + b"\n", 1) for row in self._rows)


def written(root: Path, rows: list[dict[str, Any]], raw: bool = False) -> Path:
    """Write rows with the worker's schema; return the file."""
    sink, _ = connect_sinks(Settings(sink=f"file:{root}/lake?format=parquet", raw=raw))
    assert sink.write(Lines(rows)) == 0
    return root / "lake" / f"{NAME}.parquet"


def test_every_field_of_the_samples_comes_back(tmp_path: Path) -> None:
    """Times, numbers and lists have their types."""
    found = pq.read_table(written(tmp_path, ROWS)).to_pylist()
    assert [list(row) for row in found] == [list(row) for row in ROWS]
    for row, expected in zip(found, ROWS, strict=True):
        for name, value in expected.items():
            if name in parquet.TIMES and value is not None:
                assert row[name] == datetime.fromisoformat(value)
            elif name == "request_parameters" and value is not None:
                assert json.loads(row[name]) == value
            else:
                assert row[name] == value


def test_duckdb_reads_typed_columns_and_folders(tmp_path: Path) -> None:
    """The folders of a lake are columns, and parameters are JSON."""
    row = {**ROWS[0], "request_parameters": {"To": "a", "n": [1]}, "arrived_at": "2026-01-01T05:06:07.008Z"}
    written(tmp_path, [row, {**row, "request_parameters": None}])
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.execute(f"""
            SELECT dt, hour, arrived_at, request_parameters ->> 'To', response_status + 1, len(warnings)
            FROM read_parquet('{tmp_path}/lake/*/*/*.parquet', hive_partitioning = true)
        """).fetchall()
    arrived_at = datetime(2026, 1, 1, 5, 6, 7, 8000, tzinfo=UTC)
    assert [(str(row[0]), int(row[1]), row[2].astimezone(UTC), *row[3:]) for row in found] == [
        ("2026-01-01", 5, arrived_at, to, row["response_status"] + 1, len(row["warnings"])) for to in ("a", None)
    ]


def test_the_original_event_is_a_column_with_raw(tmp_path: Path) -> None:
    """It is JSON, too."""
    event = json.loads(examples.load("documented-call-created"))
    [row] = pq.read_table(written(tmp_path, [{**ROWS[0], "event": event}], raw=True)).to_pylist()
    assert json.loads(row["event"]) == event


@pytest.mark.parametrize(("rows", "size"), [(4, 10**9), (10**9, 2)])
def test_a_file_has_row_groups_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: int
) -> None:
    """Only one group is in memory at once, and readers can skip a group."""
    monkeypatch.setattr(parquet, "PART_ROWS", 2)
    monkeypatch.setattr(parquet, "GROUP_ROWS", rows)
    monkeypatch.setattr(parquet, "GROUP_BYTES", size)
    file = pq.ParquetFile(written(tmp_path, [ROWS[0]] * 9))
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sizes == ([4, 4, 1] if rows == 4 else [1] * 9)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    file.close()
