"""Change the content of a SQLite file in place while it is in use: no row is lost without an error."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import LeaseTableUnavailable, SinkUnavailable
from consumer.leases import Lease, Scope
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.sinks import Sink, jsonl, sqlite, stdout
from consumer.testing import DEAD_LETTERS
from tests.contracts.places import connect, interrupted, part

MANY = range(2000)  # enough rows for several pages
TABLE = "CREATE TABLE things (id, value, PRIMARY KEY (id))"


@pytest.fixture
def sink(file: Path) -> Sink:
    """Provide a sink whose rows are partly in the database and partly only in its -wal file."""
    sink = connect(sqlite, f"sqlite:{file}")
    sink.check()
    sink.write(part(MANY))
    checkpoint(file)
    sink.write(part([5000]))
    return sink


def checkpoint(file: Path) -> None:
    """Checkpoint the database from another process, which changes no row."""
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')"
    os.spawnlp(os.P_WAIT, "python3", "python3", "-c", script, str(file))


def rows(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in reader.execute("SELECT id FROM things ORDER BY id")]


def copied_over(file: Path, statement: str) -> None:
    """Overwrite the file in place with a restored database, as `cp` does."""
    other = file.with_name("other")
    with closing(sqlite3.connect(other)) as database:
        database.execute(statement)
        database.execute("CREATE TABLE theirs (id)")
        database.executemany("INSERT INTO theirs VALUES (?)", [(number,) for number in range(3000)])
        database.commit()
    shutil.copyfile(other, file)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def restored(file: Path) -> None:
    copied_over(file, TABLE)


def replaced_by_another(file: Path) -> None:
    copied_over(file, "CREATE TABLE another (id)")


def all_emptied(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        os.truncate(f"{file}{suffix}", 0)


def restored_without_its_log(file: Path) -> None:
    for suffix in ("-wal", "-shm"):
        os.unlink(f"{file}{suffix}")
    restored(file)


USABLE = [emptied, restored, replaced_by_another, all_emptied, restored_without_its_log]


@pytest.mark.parametrize("change", USABLE)
def test_new_content_is_reported_once_and_then_used(sink: Sink, file: Path, change: Callable[[Path], None]) -> None:
    """The error says which rows may be missing and how to write them again. The new content stays whole."""
    change(file)
    with pytest.raises(SinkUnavailable, match=r"--sink .*rows\.db: .* may be missing; .* --application NEW"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    sink.close()
    assert rows(file) == [6000]
    if change in (restored, restored_without_its_log, replaced_by_another):
        with closing(sqlite3.connect(file)) as reader:
            assert reader.execute("SELECT count(*) FROM theirs").fetchone() == (3000,)


def cut(file: Path) -> None:
    os.truncate(file, 8192)


def cut_by_a_byte(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def scribbled(file: Path) -> None:
    with file.open("r+b") as other:
        other.seek(8192)
        other.write(os.urandom(8192))


def no_database(file: Path) -> None:
    with file.open("r+b") as other:
        other.write(b"no database " * 1000)


@pytest.mark.parametrize(
    ("change", "says"),
    [(cut, "malformed"), (cut_by_a_byte, "malformed"), (scribbled, "malformed"), (no_database, "not a database")],
)
def test_damaged_content_is_never_written(
    sink: Sink, file: Path, tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    """Each retry fails until the file is repaired."""
    with closing(sqlite3.connect(file)) as original:
        original.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
    change(file)
    with pytest.raises(SinkUnavailable, match="another program"):
        sink.write(part([6000]))
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=says):
            sink.write(part([6000]))
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "backup.db", file)
    sink.write(part([6000]))
    assert rows(file) == [*MANY, 5000, 6000]


def log_emptied(file: Path) -> None:
    os.truncate(f"{file}-wal", 0)


def log_cut(file: Path) -> None:
    os.truncate(f"{file}-wal", os.path.getsize(f"{file}-wal") // 2)


@pytest.mark.parametrize("change", [log_emptied, log_cut])
def test_a_truncated_log_loses_only_its_own_rows_with_an_error(
    sink: Sink, file: Path, change: Callable[[Path], None]
) -> None:
    """The rows of the database stay, although SQLite would have copied half a log into it."""
    change(file)
    with pytest.raises(SinkUnavailable, match=r"rows\.db: its -wal file was truncated"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    sink.close()
    assert rows(file) == [*MANY, 6000]


def test_a_truncated_index_is_rebuilt_without_a_loss(sink: Sink, file: Path) -> None:
    """Without this, SQLite would be killed by a signal."""
    os.truncate(f"{file}-shm", 0)
    with pytest.raises(SinkUnavailable, match=r"rows\.db: its -shm file was truncated"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    assert rows(file) == [*MANY, 5000, 6000]


def test_a_file_that_was_only_touched_loses_nothing(sink: Sink, file: Path) -> None:
    """Some file systems change the modification time."""
    file.touch()
    with pytest.raises(SinkUnavailable, match=r"rows\.db: another program wrote to it while in use: checking it$"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    assert rows(file) == [*MANY, 5000, 6000]


def test_a_link_to_the_moved_file_counts_as_another_file(sink: Sink, file: Path, tmp_path: Path) -> None:
    """SQLite would look for the log beside the link, not where it is."""
    (tmp_path / "disk").mkdir()
    file.rename(tmp_path / "disk" / "rows.db")
    file.symlink_to(tmp_path / "disk" / "rows.db")
    with pytest.raises(SinkUnavailable, match=r"rows\.db: replaced"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    assert rows(file) == [*MANY, 5000, 6000]


def test_a_change_during_a_write_is_noticed_before_its_commit(sink: Sink, file: Path) -> None:
    """The commit would write into the new content."""
    with pytest.raises(SinkUnavailable, match="restored by another program"):
        sink.write(interrupted(part([6000, 6001]), lambda: restored(file)))
    assert rows(file) == []


def test_checkpoints_of_other_connections_are_not_changes(sink: Sink, file: Path) -> None:
    """They come from another process, or from our own dead letters in the same file."""
    letters = connect(sqlite, f"sqlite:{file}", DEAD_LETTERS)
    letters.check()
    for number in range(6000, 6020):
        letters.write(part(range(number * 1000, number * 1000 + 500)))
        sink.write(part(range(number * 1000, number * 1000 + 500)))
        if number % 4 == 0:
            checkpoint(file)
    assert len(rows(file)) == len(MANY) + 1 + 20 * 500


def test_dead_letters_in_the_same_file_do_not_keep_the_old_content_open(sink: Sink, file: Path) -> None:
    """SQLite shares an index between all connections of a process, also idle ones."""
    letters = connect(sqlite, f"sqlite:{file}", DEAD_LETTERS)
    letters.write(part([1]))
    emptied(file)
    with pytest.raises(SinkUnavailable, match="may be missing"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    letters.write(part([2]))
    with closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)):
        assert rows(file) == [6000]


@pytest.mark.parametrize("change", [emptied, restored, replaced_by_another])
def test_a_checkpoint_of_another_process_does_not_hide_a_change(
    sink: Sink, file: Path, change: Callable[[Path], None]
) -> None:
    """Both may happen between two writes. The size of the database is known after a checkpoint."""
    checkpoint(file)
    change(file)
    with pytest.raises(SinkUnavailable, match="may be missing"):
        sink.write(part([6000]))
    sink.write(part([6000]))
    assert rows(file) == [6000]


def test_a_deleted_log_is_saved_while_dead_letters_and_another_process_use_the_file(sink: Sink, file: Path) -> None:
    """Neither close is the last one, which alone would make SQLite save the log."""
    letters = connect(sqlite, f"sqlite:{file}", DEAD_LETTERS)
    letters.write(part([1]))
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM things').fetchall()"
    script += "; print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        Path(f"{file}-wal").unlink()
        with pytest.raises(SinkUnavailable, match="-wal: deleted"):
            sink.write(part([6000]))
        other.communicate()
    sink.write(part([6000]))
    letters.write(part([2]))
    assert rows(file) == [*MANY, 5000, 6000]


@pytest.mark.parametrize("change", [emptied, replaced_by_another, all_emptied, cut, no_database, log_emptied])
def test_a_changed_lease_table_is_not_used(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Without its rows every shard would be read from the start, and with half of them some shards."""
    file = tmp_path / "leases.db"
    table = SqliteLeaseTable(file, Scope("calls", "twilio-events", 1.0))
    table.check()
    table.create(Lease("shardId-000000000000", owner="me"))
    if change is not log_emptied:
        checkpoint(file)
        table.create(Lease("shardId-000000000001", owner="me"))
    change(file)
    with pytest.raises(LeaseTableUnavailable, match=r"--leases .*leases\.db: .* put the lease table back"):
        table.scan()
    for _ in range(2):
        with pytest.raises(LeaseTableUnavailable, match=r"no leases|malformed|not a database"):
            table.scan()
    table.close()


def exchanged(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.touch()


FILE_CHANGES: list[Callable[[Path], object]] = [lambda path: os.truncate(path, 0), Path.unlink, exchanged]


@pytest.mark.parametrize("change", FILE_CHANGES, ids=["truncated", "removed", "replaced"])
@pytest.mark.parametrize("when", ["written", "linked"])
def test_a_file_that_changes_while_it_is_written_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], when: str
) -> None:
    """A file under its final name counts as written."""
    sink = connect(jsonl, f"jsonl:{tmp_path}/rows")
    sink.check()
    fsync, link = os.fsync, os.link

    def disturbed(call: Callable[..., None], *arguments: Any) -> None:
        call(*arguments)
        if found := list(tmp_path.rglob(".shard*.tmp")):
            change(found[0])

    with monkeypatch.context() as patch:
        if when == "written":
            patch.setattr(os, "fsync", lambda number: disturbed(fsync, number))
        else:
            patch.setattr(os, "link", lambda *names: (change(Path(names[0])), link(*names)))
        with pytest.raises(SinkUnavailable):
            sink.write(part([1]))
    assert not list(tmp_path.rglob("*.jsonl"))
    assert sink.write(part([1])) == 0
    [file] = tmp_path.rglob("*.jsonl")
    assert file.read_text() == '{"id":1,"value":"v"}\n'


def test_standard_output_to_a_deleted_file_is_not_written(tmp_path: Path) -> None:
    """No reader would find the rows."""
    with (tmp_path / "out").open("wb") as output:
        sink = stdout.StdoutSink(output.fileno())
        sink.write(part([1]))
        (tmp_path / "out").unlink()
        with pytest.raises(SinkUnavailable, match="its file was deleted while in use"):
            sink.write(part([2]))


def test_standard_output_to_a_truncated_file_continues_at_its_start(tmp_path: Path) -> None:
    """Log rotation copies and truncates. Without O_APPEND, zeros would make the next row unreadable."""
    with (tmp_path / "out").open("wb") as output:
        sink = stdout.StdoutSink(output.fileno())
        sink.write(part([1]))
        os.truncate(tmp_path / "out", 0)
        sink.write(part([2]))
        assert (tmp_path / "out").read_text() == '{"id":2,"value":"v"}\n'
