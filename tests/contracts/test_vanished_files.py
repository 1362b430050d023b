"""Notice a file or folder that is deleted or replaced while in use, write nothing into it, and report it."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.errors import LeaseTableUnavailable, SinkUnavailable
from consumer.leases import Change, Lease, Scope
from consumer.leases import lease as steps
from consumer.leases.lease import WorkerIdentity
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.records import SHARD_END
from consumer.sinks import Sink, directory, jsonl, sqlite
from tests.contracts.places import connect, interrupted, part

ME = WorkerIdentity("me", "a1")
ROW = Lease("shardId-000000000000", owner="me")
CALLS: dict[str, Callable[[SqliteLeaseTable], object]] = {
    "scan": lambda table: table.scan(),
    "read": lambda table: table.read([ROW.shard_id]),
    "create": lambda table: table.create(replace(ROW, shard_id="shardId-000000000001")),
    "write": lambda table: table.write([Change(ROW, steps.renewed(ROW, ME, None))]),
    "want": lambda table: table.want(ROW, "peer"),
    "delete": lambda table: table.delete(replace(ROW, checkpoint=SHARD_END)),
}


@pytest.fixture
def sink(file: Path) -> Sink:
    """Provide a sink that has written the rows 1 and 2."""
    sink = connect(sqlite, f"sqlite:{file}")
    sink.check()
    sink.write(part([1, 2]))
    return sink


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SqliteLeaseTable]:
    """Provide a lease table with one row that was read and written."""
    table = SqliteLeaseTable(tmp_path / "leases.db", Scope("calls", "twilio-events", 1.0))
    table.check()
    table.create(ROW)
    assert list(table.scan()) == [ROW]
    yield table
    table.close()


def rows(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as reader:
        return [row[0] for row in reader.execute("SELECT id FROM things ORDER BY id")]


def move(file: Path, to: Path) -> None:
    """Move a database and its other files, as an operator would."""
    for suffix in ("", "-wal", "-shm"):
        os.rename(f"{file}{suffix}", f"{to}{suffix}")


def test_rows_are_never_written_into_a_deleted_file(sink: Sink, file: Path) -> None:
    """Each retry fails. The error names the file and what to do."""
    for path in file.parent.iterdir():
        path.unlink()
    for _ in range(3):
        with pytest.raises(SinkUnavailable, match=r"--sink .*rows\.db: deleted or moved .* put it back, or restart"):
            sink.write(part([3]))
    assert not file.exists(), "a new file would hide that the rows before are gone"


def test_a_file_that_is_put_back_is_used_again(sink: Sink, file: Path, tmp_path: Path) -> None:
    """No restart is needed, and its rows are still there."""
    move(file, tmp_path / "away.db")
    with pytest.raises(SinkUnavailable, match="deleted or moved"):
        sink.write(part([3]))
    with closing(sqlite3.connect(tmp_path / "away.db")) as backup:
        backup.execute("VACUUM INTO ?", [str(file)])
    sink.write(part([3]))
    assert rows(file) == [1, 2, 3]


def test_a_replaced_file_is_reported_once_and_then_used(sink: Sink, file: Path, tmp_path: Path) -> None:
    """An operator may rotate files. The error says where the earlier rows are, and the new file may be empty."""
    move(file, tmp_path / "old.db")
    file.touch()
    with pytest.raises(SinkUnavailable, match=r"rows\.db: replaced by another file"):
        sink.write(part([3]))
    sink.write(part([3]))
    assert rows(file) == [3]
    assert rows(tmp_path / "old.db") == [1, 2]


@pytest.mark.parametrize(
    ("content", "says"), [(b"no database " * 100, "not a database"), (None, "table things has other columns")]
)
def test_a_file_of_another_program_in_place_of_ours_is_not_written(
    sink: Sink, file: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    """A running worker does not end, because the file may be put back."""
    move(file, tmp_path / "old.db")
    if content is not None:
        file.write_bytes(content)
    else:
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE things (a, b, c)")
    with pytest.raises(SinkUnavailable, match="replaced"):
        sink.write(part([3]))
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=says):
            sink.write(part([3]))
    file.unlink()
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.execute("VACUUM INTO ?", [str(file)])
    sink.write(part([3]))
    assert rows(file) == [1, 2, 3]


def test_rows_of_a_deleted_write_ahead_log_are_saved(sink: Sink, file: Path) -> None:
    """SQLite still has the file open, and closing copies its rows into the database."""
    Path(f"{file}-wal").unlink()
    with pytest.raises(SinkUnavailable, match=r"rows\.db-wal: deleted"):
        sink.write(part([3]))
    sink.write(part([3]))
    assert rows(file) == [1, 2, 3]


def test_a_file_deleted_during_a_write_has_not_been_written(sink: Sink, file: Path, tmp_path: Path) -> None:
    """The comparison is repeated after the write."""
    with pytest.raises(SinkUnavailable, match="deleted or moved"):
        sink.write(interrupted(part([3]), lambda: move(file, tmp_path / "away.db")))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_no_call_uses_a_deleted_lease_table(table: SqliteLeaseTable, tmp_path: Path, call: str, suffix: str) -> None:
    """Reads fail, too, because a lease in a deleted file is invalid."""
    (tmp_path / f"leases.db{suffix}").unlink()
    with pytest.raises(LeaseTableUnavailable, match=rf"--leases .*leases\.db{suffix}: deleted "):
        CALLS[call](table)
    if not suffix:
        with pytest.raises(LeaseTableUnavailable, match="put it back, or restart"):
            CALLS[call](table)
        assert not (tmp_path / "leases.db").exists()


def test_a_lease_table_with_a_deleted_log_keeps_its_rows(table: SqliteLeaseTable, tmp_path: Path) -> None:
    """Both connections are closed, so that SQLite saves the rows that only the log had."""
    (tmp_path / "leases.db-wal").unlink()
    with pytest.raises(LeaseTableUnavailable):
        table.scan()
    assert list(table.scan()) == [ROW]


def test_a_lease_table_that_is_put_back_is_used_again(table: SqliteLeaseTable, tmp_path: Path) -> None:
    """It comes from a backup and has our rows."""
    with closing(sqlite3.connect(tmp_path / "leases.db")) as original:
        original.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"leases.db{suffix}").unlink()
    with pytest.raises(LeaseTableUnavailable):
        table.scan()
    shutil.copy(tmp_path / "backup.db", tmp_path / "leases.db")
    assert list(table.scan()) == [ROW]
    assert table.write([Change(ROW, steps.renewed(ROW, ME, None))])[0].done


@pytest.mark.parametrize("call", CALLS)
def test_an_empty_lease_table_in_place_of_ours_is_not_a_first_start(
    table: SqliteLeaseTable, tmp_path: Path, call: str
) -> None:
    """Otherwise the worker would create new rows and start again at `--from`, with a loss for latest."""
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"leases.db{suffix}").unlink()
    other = SqliteLeaseTable(tmp_path / "leases.db", Scope("calls", "another-stream", 1.0))
    other.check()
    other.create(ROW)
    other.close()
    with pytest.raises(LeaseTableUnavailable, match="replaced"):
        CALLS[call](table)
    for _ in range(2):
        with pytest.raises(LeaseTableUnavailable, match="holds no leases of application 'calls' any more"):
            CALLS[call](table)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


def test_a_deleted_directory_is_not_created_again(tmp_path: Path) -> None:
    """After an unmount, rows would go to a hidden place. If an operator creates it, it is used again."""
    sink = connect(jsonl, f"jsonl:{tmp_path}/rows")
    sink.check()
    sink.write(part([1]))
    opened = os.open(tmp_path / "rows", os.O_RDONLY)  # keeps the inode, which a new directory could otherwise get
    shutil.rmtree(tmp_path / "rows")
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=r"--sink .*/rows: deleted or moved .* put it back"):
            sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    assert not (tmp_path / "rows").exists()
    (tmp_path / "rows").mkdir()
    os.close(opened)
    with pytest.raises(SinkUnavailable, match="replaced by another directory"):
        sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    assert files(tmp_path / "rows") == ["shard-2-2.jsonl"]


def test_another_disk_in_place_of_a_directory_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unmounted disk leaves an empty directory. If the last file is in it, the disk was mounted again."""
    sink = connect(jsonl, f"jsonl:{tmp_path}/rows")
    sink.check()
    sink.write(part([1]))
    monkeypatch.setattr(directory, "identity_of", lambda path: (path.stat().st_dev + 1, path.stat().st_ino))
    (tmp_path / "rows").rename(tmp_path / "disk")
    (tmp_path / "rows").mkdir()
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="on another disk than before"):
            sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    assert files(tmp_path / "rows") == []
    (tmp_path / "rows").rmdir()
    (tmp_path / "disk").rename(tmp_path / "rows")
    with pytest.raises(SinkUnavailable, match="replaced by another directory"):
        sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    assert files(tmp_path / "rows") == ["shard-1-2.jsonl", "shard-2-2.jsonl"]


def test_a_deleted_hour_folder_is_created_again(tmp_path: Path) -> None:
    """Readers delete old hours."""
    sink = connect(jsonl, f"jsonl:{tmp_path}/rows")
    sink.check()
    sink.write(part([1]))
    shutil.rmtree(tmp_path / "rows" / "dt=2026-01-01")
    sink.write(part([2], "dt=2026-01-01/hour=00/shard-2-2"))
    assert files(tmp_path / "rows") == ["shard-2-2.jsonl"]
