"""Check that every error of files, SQLite and JSON leaves an adapter as one of our errors, with its reason.

Each exception of a table is raised at each system call and statement, for every call of every sink and of the SQLite
lease table. Another module covers AWS.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ConfigurationError, ConsumerError, LeaseTableUnavailable, OutputClosed, SinkUnavailable
from consumer.leases import Change, Lease, Scope
from consumer.leases import lease as steps
from consumer.leases.lease import WorkerIdentity
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.pipeline.batching import Part
from consumer.pipeline.spool import Spool
from consumer.records import SHARD_END, Block
from consumer.sinks import Sink, SinkSchema, jsonl, sqlite, stdout
from consumer.testing import DEAD_LETTERS, ROWS
from tests.contracts.places import OPEN, connect

SECRET = "+15551234567"
CODES = (
    *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EMFILE", "ENFILE", "EACCES", "EPERM", "ENOENT", "ENOTDIR"),
    *("ESTALE", "ETIMEDOUT", "ENXIO", "ELOOP", "ENAMETOOLONG", "ENOLCK", "EBADF", "ENOMEM"),
)
FROM_SYSTEM: dict[str, Exception] = {
    **{code: OSError(getattr(errno, code), os.strerror(getattr(errno, code))) for code in CODES},
    "OSError without a number": OSError(SECRET),
    "ValueError": ValueError(SECRET),
    "UnicodeEncodeError": UnicodeEncodeError("utf-8", SECRET, 0, 1, "surrogates not allowed"),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "invalid start byte"),
}


def with_code(error: sqlite3.Error, name: str) -> sqlite3.Error:
    """Return an error with a code as the sqlite3 module raises it."""
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


FROM_SQLITE: dict[str, tuple[Exception, str]] = {
    "locked": (sqlite3.OperationalError("database is locked"), "locked by another process"),
    "table locked": (sqlite3.OperationalError("database table is locked: things"), "locked"),
    "full": (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
    "io": (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
    "readonly": (sqlite3.OperationalError("attempt to write a readonly database"), "readonly"),
    "cannot open": (sqlite3.OperationalError("unable to open database file"), "unable to open"),
    "malformed": (sqlite3.DatabaseError("database disk image is malformed"), "malformed"),
    "no database": (sqlite3.DatabaseError("file is not a database"), "not a database"),
    "memory": (sqlite3.OperationalError("out of memory"), "out of memory"),
    "no table": (with_code(sqlite3.OperationalError("no such table: x"), "SQLITE_ERROR"), "no such table"),
    "io, extended": (with_code(sqlite3.OperationalError(SECRET), "SQLITE_IOERR_FSYNC"), "disk I/O"),
    "constraint": (with_code(sqlite3.IntegrityError(SECRET), "SQLITE_CONSTRAINT_CHECK"), "SQLITE_CONSTRAINT_CHECK"),
    "programming": (sqlite3.ProgrammingError("Cannot operate on a closed database."), "ProgrammingError"),
    "internal": (sqlite3.InternalError(SECRET), "InternalError"),
    "not supported": (sqlite3.NotSupportedError(SECRET), "NotSupportedError"),
    "error": (sqlite3.Error(SECRET), "Error"),
    "value": (ValueError(SECRET), "ValueError"),
    "overflow": (OverflowError(SECRET), "OverflowError"),
    "os": (OSError(errno.EIO, "Input/output error"), "Input/output error"),
}
PLACES = ("open", "close", "link", "unlink", "fsync", "mkdir", "stat", "fstat", "write", "chmod", "lseek", "scandir")
MISSING = ("ENOENT", "ENOTDIR")  # may also be reported as deleted
ME = WorkerIdentity("me", "a1")
ROW = Lease("shardId-000000000000", owner="me")
MOST = 60  # maximum number of places in one call


@dataclass
class Trap:
    """Raise at the `countdown`-th place after it was set. `sprung` tells whether it did."""

    error: Exception | None = None
    countdown: int = 0
    touched: list[str] = field(default_factory=list)

    @property
    def sprung(self) -> bool:
        return self.countdown < 0

    def touch(self, what: str) -> None:
        if self.error is None:
            return
        self.countdown -= 1
        if self.countdown == -1:
            self.touched.append(what)
            raise self.error


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Trap:
    """Provide a trap in each function of the operating system."""
    trap = Trap()

    def trapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            trap.touch(name)
            return real(*arguments, **named)

        return call

    for name in PLACES:
        monkeypatch.setattr(os, name, trapped(name, getattr(os, name)))
    return trap


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Trap:
    """Provide a trap in each statement of SQLite, and in connecting."""
    trap = Trap()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
            trap.touch(sql)
            return super().execute(sql, *given)

        def executemany(self, sql: str, *given: Any) -> sqlite3.Cursor:
            trap.touch(sql)
            return super().executemany(sql, *given)

    real = sqlite3.connect

    def connected(*given: Any, **named: Any) -> sqlite3.Connection:
        trap.touch("connect")
        return real(*given, factory=Connection, **named)

    monkeypatch.setattr(sqlite3, "connect", connected)
    return trap


def each_place(trap: Trap, error: Exception, call: Callable[[], object]) -> Iterator[Exception]:
    """Repeat the call and let it fail at its first place, its second, and so on. Yield the errors."""
    for number in range(MOST):
        trap.error, trap.countdown = error, number
        try:
            call()
        except Exception as left:
            trap.error = None
            yield left
        trap.error = None
        if not trap.sprung:
            return
    pytest.fail(f"{MOST} places were not enough: {trap.touched[-3:]}")


def new_sink(kind: str, directory: Path, contents: SinkSchema) -> Sink:
    if kind == "stdout":
        OPEN.append(output := (directory / "out").open("ab"))
        return stdout.StdoutSink(output.fileno())
    module, place = (jsonl, "jsonl:{}/rows") if kind == "jsonl" else (sqlite, "sqlite:{}/rows.db")
    return connect(module, place.format(directory), contents)


def batch(number: int) -> Part:
    """Return a batch in memory, whose iteration makes no system call."""
    spool = Spool()
    line = b'{"id":%d,"value":"v"}\n' % number
    spool.append(Block(line, 1, [line]), len(line))
    return Part(f"dt=2026-01-01/hour=00/shard-{number}", spool, 0, 1)


def assert_ours(left: Exception, foreseen: tuple[type[Exception], ...]) -> None:
    assert isinstance(left, foreseen), repr(left)
    assert SECRET not in str(left)
    assert "\n" not in str(left)


@pytest.mark.parametrize("name", FROM_SYSTEM)
@pytest.mark.parametrize("kind", ["jsonl", "sqlite", "stdout"])
def test_a_sink_translates_errors_of_the_system(system: Trap, tmp_path: Path, kind: str, name: str) -> None:
    """In `check` it may be a configuration error, later it is retried, and the sink recovers."""
    error = FROM_SYSTEM[name]
    reason = getattr(error, "strerror", None) or type(error).__name__
    for number, contents in enumerate((ROWS, DEAD_LETTERS)):
        directory = tmp_path / str(number)
        directory.mkdir()
        sink = new_sink(kind, directory, contents)
        for left in each_place(system, error, sink.check):
            assert_ours(left, (SinkUnavailable, ConfigurationError))
            assert reason in str(left) or name in MISSING or "it is a file" in str(left)
        batches = iter([batch(number) for number in range(MOST)])
        for left in each_place(system, error, lambda: sink.write(next(batches))):  # noqa: B023 - called at once
            assert_ours(left, (SinkUnavailable,))
            assert reason in str(left) or name in MISSING
        if kind == "jsonl":
            for left in each_place(system, error, lambda: sink.holds("dt=2026-01-01/hour=00/x")):  # noqa: B023
                assert_ours(left, (SinkUnavailable,))
        assert sink.write(batch(1000)) == 0


@pytest.mark.parametrize("code", ["EPIPE", "ECONNRESET"])
def test_a_closed_reader_ends_the_output(system: Trap, tmp_path: Path, code: str) -> None:
    """It may be a pipe or a socket."""
    sink = new_sink("stdout", tmp_path, ROWS)
    error = OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    for left in each_place(system, error, lambda: sink.write(batch(1))):
        assert_ours(left, (OutputClosed,))
    assert system.touched


@pytest.mark.parametrize("name", FROM_SQLITE)
def test_the_sqlite_sink_translates_errors_of_sqlite(statements: Trap, tmp_path: Path, name: str) -> None:
    """They occur at every statement. A row that cannot be stored is another case."""
    error, reason = FROM_SQLITE[name]
    for contents in (ROWS, DEAD_LETTERS):
        sink = new_sink("sqlite", tmp_path, contents)
        for left in each_place(statements, error, sink.check):
            assert_ours(left, (SinkUnavailable, ConfigurationError))
            assert reason in str(left)
            assert f"{tmp_path}/rows.db" in str(left)
        for left in each_place(statements, error, lambda: sink.write(batch(1))):  # noqa: B023 - called at once
            assert_ours(left, (ConsumerError,) if name == "overflow" else (SinkUnavailable,))
        assert sink.write(batch(1)) == 1


CALLS: dict[str, Callable[[SqliteLeaseTable], object]] = {
    "scan": lambda table: table.scan(),
    "read": lambda table: table.read([ROW.shard_id]),
    "create": lambda table: table.create(replace(ROW, shard_id="shardId-000000000001")),
    "renew": lambda table: table.write([Change(ROW, steps.renewed(ROW, ME, None))]),
    "take": lambda table: table.write([Change(ROW, steps.taken(ROW, ME))]),
    "want": lambda table: table.want(ROW, "peer"),
    "delete": lambda table: table.delete(replace(ROW, checkpoint=SHARD_END)),
    "rewrite": lambda table: table.rewrite([Change(ROW, steps.taken(ROW, ME))]),
    "remove": lambda table: table.remove(replace(ROW, owner="peer")),
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteLeaseTable]:
    monkeypatch.setattr("consumer.leases.sqlite.PAUSE", 0.0)
    table = SqliteLeaseTable(tmp_path / "leases.db", Scope("calls", "twilio-events", 1.0))
    yield table
    table.close()


@pytest.mark.parametrize("name", FROM_SQLITE)
def test_the_sqlite_lease_table_translates_errors_of_sqlite(
    statements: Trap, table: SqliteLeaseTable, name: str
) -> None:
    """They occur at every statement of every call, and the table recovers."""
    error, reason = FROM_SQLITE[name]
    for left in each_place(statements, error, table.check):
        assert_ours(left, (LeaseTableUnavailable, ConfigurationError))
        assert reason in str(left)
    table.create(ROW)
    for call in CALLS.values():
        for left in each_place(statements, error, lambda: call(table)):  # noqa: B023 - called at once
            assert_ours(left, (LeaseTableUnavailable,))
            assert reason in str(left)
            assert "--leases" in str(left)
    assert [row.shard_id for row in table.scan()] == [ROW.shard_id, "shardId-000000000001"]


@pytest.mark.parametrize("name", FROM_SYSTEM)
def test_the_sqlite_lease_table_translates_errors_of_the_system(
    system: Trap, table: SqliteLeaseTable, name: str
) -> None:
    """It makes system calls to compare files."""
    error = FROM_SYSTEM[name]
    for left in each_place(system, error, table.check):
        assert_ours(left, (LeaseTableUnavailable, ConfigurationError))
    table.create(ROW)
    for call in CALLS.values():
        for left in each_place(system, error, lambda: call(table)):  # noqa: B023 - called at once
            assert_ours(left, (LeaseTableUnavailable,))
    assert [row.shard_id for row in table.scan()] == [ROW.shard_id, "shardId-000000000001"]
