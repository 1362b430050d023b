"""Test SQLite's own failures in a sink or a lease table: damage, a full disk, an old library, file modes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from consumer.errors import ConfigurationError, LeaseTableUnavailable, SinkUnavailable
from consumer.leases import Change, Lease, Scope
from consumer.leases import lease as steps
from consumer.leases import sqlite as leases
from consumer.leases.lease import WorkerIdentity
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.leases.sqlite_row import FIELDS, stored
from consumer.pipeline.batching import Part
from consumer.pipeline.spool import Spool
from consumer.records import Block
from consumer.sinks import SinkSchema, sqlite, sqlite_values
from consumer.sinks.sqlite import SqliteSink
from consumer.testing import DEAD_LETTERS, ROWS, make_batch
from consumer.urls import parse
from tests.contracts.places import OPEN, connect, part

ME = WorkerIdentity("me", "a1")
SCOPE = Scope("calls", "twilio-events", 1.0)
ROW = Lease("shardId-000000000000", owner="me")
DAMAGED = Lease("shardId-000000000001", owner="me", token=steps.Token("me", "a1", 0), counter=0)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SqliteLeaseTable]:
    """Provide a lease table with a valid row and one that a test damages."""
    table = SqliteLeaseTable(tmp_path / "leases.db", SCOPE)
    table.check()
    table.create(ROW)
    table.create(DAMAGED)
    yield table
    table.close()


def damage(tmp_path: Path, column: str, value: object) -> None:
    with closing(sqlite3.connect(tmp_path / "leases.db")) as other:
        other.execute(f"UPDATE leases SET {column} = ? WHERE shard_id = ?", [value, DAMAGED.shard_id])
        other.commit()


def test_a_lease_table_with_a_damaged_index_is_rejected_at_the_start(tmp_path: Path, table: SqliteLeaseTable) -> None:
    """A query by shard would miss rows that a scan finds."""
    table.close()
    os.truncate(tmp_path / "leases.db", (tmp_path / "leases.db").stat().st_size - 1)
    with pytest.raises(ConfigurationError, match=r"--leases .*leases\.db: the database is malformed"):
        SqliteLeaseTable(tmp_path / "leases.db", SCOPE).check()


DAMAGES: list[tuple[str, object]] = [
    ("checkpoint", None),
    ("checkpoint", ""),
    ("checkpoint", "49x.0"),
    ("checkpoint", "49."),
    ("checkpoint", "SOMEWHERE"),
    ("checkpoint", "SEQUENCE"),
    ("checkpoint", b"\xff\xfe"),
    ("checkpoint", 12.5),
    ("parents", "no json"),
    ("parents", "[1, 2]"),
    ("parents", None),
    ("children", '{"a": 1}'),
    ("hash_range", '["1"]'),
    ("hash_range", '["a", "b"]'),
    ("counter", None),
    ("counter", "twelve"),
    ("counter", -1),
    ("switches", "x"),
    ("token", '["me", "a1"]'),
    ("token", '["me", "a1", "x"]'),
    ("token", "x"),
    ("pending", "[]"),
    ("pending", '["x", "name"]'),
    ("started_at", "yesterday"),
    ("read_to", "2026-01-01T00:00:00"),
    ("stream_created_at", 5),
    ("throughput", "fast"),
    ("draining", "maybe"),
    ("owner", 7),
    ("wanted_by", b"peer"),
]


@pytest.mark.parametrize(("column", "value"), DAMAGES, ids=str)
def test_a_damaged_row_is_skipped_and_named(
    table: SqliteLeaseTable, tmp_path: Path, column: str, value: object
) -> None:
    """The error names its column, not its value. The other rows work, and the damaged one is never written."""
    damage(tmp_path, column, value)
    before = raw(tmp_path)
    assert list(table.scan()) == [ROW]
    assert table.unreadable() == {DAMAGED.shard_id: f"{column} cannot be read"}
    assert list(table.read([ROW.shard_id, DAMAGED.shard_id])) == [ROW]
    table.create(DAMAGED)
    answers = table.write([Change(lease, steps.taken(lease, ME)) for lease in (ROW, replace(DAMAGED, counter=99))])
    assert [answer.done for answer in answers] == [True, False]
    assert answers[1].row is None
    assert raw(tmp_path) == before


def test_a_table_of_an_earlier_release_gets_the_new_columns(tmp_path: Path) -> None:
    """Its rows are continued, and the earlier release ignores the new columns."""
    names = [name for name in FIELDS if name not in leases.ADDED]
    row = {**stored(ROW, names), "application": SCOPE.application, "stream": SCOPE.stream}
    with closing(sqlite3.connect(tmp_path / "leases.db")) as earlier:
        columns = ", ".join(["application", "stream", *names, "updated_at"])
        earlier.execute(f"CREATE TABLE leases ({columns}, PRIMARY KEY (application, stream, shard_id))")
        earlier.execute(f"INSERT INTO leases ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
        earlier.commit()
    for _ in range(2):
        table = SqliteLeaseTable(tmp_path / "leases.db", SCOPE)
        table.check()
        assert list(table.scan()) == [ROW]
        table.close()


def test_a_repaired_row_is_read_again(table: SqliteLeaseTable, tmp_path: Path) -> None:
    """Every scan checks again."""
    damage(tmp_path, "counter", "x")
    table.scan()
    damage(tmp_path, "counter", 0)
    assert list(table.scan()) == [ROW, DAMAGED]
    assert table.unreadable() == {}


def raw(tmp_path: Path) -> object:
    with closing(sqlite3.connect(tmp_path / "leases.db")) as other:
        return other.execute("SELECT * FROM leases WHERE shard_id = ?", [DAMAGED.shard_id]).fetchall()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Limit the disk to a number of pages, so that SQLite itself ends the transaction."""
    real, pages = sqlite3.connect, [1_000_000]

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *given: object) -> sqlite3.Cursor:
            super().execute(f"PRAGMA max_page_count = {pages[0]}")
            return super().execute(sql, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: real(*given, factory=Connection, **named))
    return pages


def test_a_full_disk_is_reported_instead_of_a_failed_rollback(tmp_path: Path, small: list[int]) -> None:
    """SQLite has already ended the transaction. A retry writes the whole batch."""
    sink = connect(sqlite, f"sqlite:{tmp_path}/rows.db")
    sink.check()
    batch = part(range(3000))
    small[0] = 4
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=r"--sink .*rows\.db: the disk is full"):
            sink.write(batch)
    small[0] = 1_000_000
    assert sink.write(batch) == 0


def test_a_full_disk_under_the_lease_table_is_reported(tmp_path: Path, small: list[int]) -> None:
    """It may be another disk than that of the rows."""
    table = SqliteLeaseTable(tmp_path / "leases.db", SCOPE)
    table.check()
    small[0] = 1
    many = [replace(ROW, shard_id=f"shardId-{number:012}") for number in range(200)]
    with pytest.raises(LeaseTableUnavailable, match=r"--leases .*leases\.db: the disk is full"):
        create_all(table, many)
    small[0] = 1_000_000
    create_all(table, many)
    assert len(table.scan()) == 200
    table.close()


def create_all(table: SqliteLeaseTable, many: list[Lease]) -> None:
    for lease in many:
        table.create(lease)


@pytest.mark.parametrize("version", [(3, 7, 15), (3, 31, 1), (3, 34, 1)])
def test_an_old_sqlite_is_rejected_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    """The line comes before a file is created. 3.35 has all features that are used."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
    says = rf"sqlite: needs SQLite 3\.35 or newer, and this Python has {version[0]}\.{version[1]}"
    with pytest.raises(ConfigurationError, match=f"--leases {says}"):
        leases.connect(parse("--leases", f"sqlite:{tmp_path}/leases.db"), leases.Options(), SCOPE)
    with pytest.raises(ConfigurationError, match=f"--sink {says}"):
        connect(sqlite, f"sqlite:{tmp_path}/rows.db")
    assert list(tmp_path.iterdir()) == []


def test_sqlite_3_35_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The required version is not higher than necessary."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    leases.connect(parse("--leases", f"sqlite:{tmp_path}/leases.db"), leases.Options(), SCOPE).check()


def modes(directory: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in directory.iterdir() if "probe" not in path.name}


@pytest.fixture
def lax() -> Iterator[None]:
    """Set a umask that lets all users read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("existing", ["none", "empty", "database", "killed"])
@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.usefixtures("lax")
def test_every_file_of_a_private_database_is_private_from_the_start(
    tmp_path: Path, existing: str, rows_first: bool
) -> None:
    """This includes the log and the index, earlier modes, and a file that rows share."""
    file = tmp_path / "x.db"
    if existing == "empty":
        file.touch()
    if existing in ("database", "killed"):
        other = sqlite3.connect(file)
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE earlier (id)")
        if existing == "killed":
            OPEN.append(other)  # its files stay beside the database
        else:
            other.close()
    if rows_first:
        connect(sqlite, f"sqlite:{file}", ROWS).check()
    letters = connect(sqlite, f"sqlite:{file}", DEAD_LETTERS)
    letters.check()
    assert modes(tmp_path) == dict.fromkeys(["x.db", "x.db-wal", "x.db-shm"], "0o600")
    letters.write(part([1]))
    assert modes(tmp_path) == dict.fromkeys(["x.db", "x.db-wal", "x.db-shm"], "0o600")


@pytest.mark.usefixtures("lax")
def test_a_private_database_behind_a_link_is_private(tmp_path: Path) -> None:
    """SQLite creates its files beside the target of the link."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "disk" / "real.db")
    connect(sqlite, f"sqlite:{tmp_path}/link.db", DEAD_LETTERS).check()
    assert modes(tmp_path / "disk") == dict.fromkeys(["real.db", "real.db-wal", "real.db-shm"], "0o600")


def test_rows_and_leases_follow_the_umask(tmp_path: Path) -> None:
    """Rows have their secrets masked, and leases have none."""
    before = os.umask(0o027)
    try:
        connect(sqlite, f"sqlite:{tmp_path}/rows.db", ROWS).check()
        table = SqliteLeaseTable(tmp_path / "leases.db", SCOPE)
        table.check()
        assert {mode for mode in modes(tmp_path).values()} == {"0o640"}
        table.close()
    finally:
        os.umask(before)


def test_making_a_database_private_keeps_its_locks(tmp_path: Path) -> None:
    """Opening and closing a file silently releases every lock that the process holds on it."""
    rows = connect(sqlite, f"sqlite:{tmp_path}/x.db", ROWS)
    rows.check()
    writing = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    writing.execute("PRAGMA journal_mode=WAL")
    connect(sqlite, f"sqlite:{tmp_path}/x.db", DEAD_LETTERS).check()
    locks = Path("/proc/locks").read_text() if Path("/proc/locks").exists() else ""
    inode = (tmp_path / "x.db").stat().st_ino
    writing.close()
    if locks:
        assert f":{inode} " in locks


def rows(*values: object) -> Part:
    """Return a row for each value, each in a separate block."""
    spool = Spool()
    for number, value in enumerate(values):
        line = msgspec.json.encode({"id": number, "value": value}) + b"\n"
        spool.append(Block(line, 1, [line]), len(line))
    return Part("batch", spool, 0, len(values))


VALUES = [None, 7, 0.5, True, "", "plain", 'é "\\\n\x0b\0 \U0001f600', [], {"a": [1, 'é"\\']}, ["b"]]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_a_long_row_is_stored_like_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Its text has the same type and value in every column, in any encoding of the file."""
    stored = []
    for long in (0, 1_000_000):
        monkeypatch.setattr(sqlite, "LONG", long)
        monkeypatch.setattr(sqlite_values, "LONG", long)
        with closing(sqlite3.connect(tmp_path / f"rows-{long}.db")) as other:
            other.execute(f"PRAGMA encoding = '{encoding}'")
            other.execute("CREATE TABLE things (id, value, PRIMARY KEY (id))")
        sink = connect(sqlite, f"sqlite:{tmp_path}/rows-{long}.db")
        sink.write(rows(*VALUES))
        with closing(sqlite3.connect(tmp_path / f"rows-{long}.db")) as other:
            stored.append(other.execute("SELECT id, typeof(value), value FROM things ORDER BY id").fetchall())
    assert stored[0] == stored[1]
    assert [kind for _, kind, _ in stored[0]] == ["null", "integer", "real", "integer", *["text"] * 6]


def test_each_block_is_inserted_before_the_next_is_read(tmp_path: Path) -> None:
    """Only one is in memory, although a batch may be larger."""
    sink = SqliteSink(tmp_path / "rows.db", ROWS)
    OPEN.append(sink)
    counts: list[int] = []

    class Watched:
        name = "batch"

        def __len__(self) -> int:
            return 9

        def __iter__(self) -> Iterator[Block]:
            connection = sink._file._writer.connection
            assert connection is not None
            before = connection.total_changes
            for block in make_batch(range(9)):
                yield block
                counts.append(connection.total_changes - before)

    assert sink.write(Watched()) == 0
    assert counts == [3, 6, 9]


@pytest.mark.parametrize("schema", [ROWS, DEAD_LETTERS])
def test_an_absent_field_is_null(tmp_path: Path, schema: SinkSchema) -> None:
    """A row of an earlier release may lack it."""
    sink, spool = connect(sqlite, f"sqlite:{tmp_path}/rows.db", schema), Spool()
    spool.append(Block(b'{"id":1}\n{"value":"v"}\n{"id":2,"other":3}\n', 3), 1)
    assert sink.write(Part("batch", spool, 0, 3)) == 0
    with closing(sqlite3.connect(tmp_path / "rows.db")) as other:
        found = other.execute(f"SELECT id, value FROM {schema.name} ORDER BY rowid").fetchall()
    assert found == [(1, None), (None, "v"), (2, None)]
