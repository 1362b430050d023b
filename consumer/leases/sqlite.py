"""A lease table in a SQLite file, shared by the worker processes of one host.

Rows are keyed by application, stream and shard. One statement writes all renewals of a process. SQLite's write lock is
not fair, so a process pauses between its writes, to let other processes write.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from consumer.errors import ConfigurationError, LeaseTableUnavailable
from consumer.files.sqlite import SqliteFile
from consumer.files.sqlite_checks import require_sqlite, require_whole
from consumer.leases import Change, Lease, Scope, Written
from consumer.leases.halt import Halt
from consumer.leases.lease import UnreadableRow
from consumer.leases.sqlite_row import FIELDS, lease_of, stored
from consumer.urls import Url

PAUSE = 0.002  # seconds between a process's write transactions
LOST = "put the lease table back, or events may be delivered again"
SHARD_ID = FIELDS.index("shard_id")
ADDED = {"lost_from", "lost_to", "halted"}  # columns that later releases added; earlier releases ignore them
RENEWAL = {"counter", "token", "read_to", "throughput"}  # the columns that a renewal writes
KEY = "application = :application AND stream = :stream AND shard_id = :shard_id"
SEEN = ("counter", "owner", "checkpoint_owner", "token")
UNCHANGED = " AND ".join([KEY, *(f"{name} IS :seen_{name}" for name in SEEN)])
AS_SEEN = f"{UNCHANGED} AND (checkpoint <> 'SHARD_END' OR :ends)"


class Options(BaseModel, extra="forbid"):
    """This table has no options."""


def connect(url: Url, options: Options, scope: Scope) -> "SqliteLeaseTable":
    """Return the table for a URL; `check` creates the file."""
    require_sqlite(url.label)
    if not url.path:
        raise ConfigurationError(f"{url.label} sqlite: name a file, such as sqlite:call-consumer.db")
    return SqliteLeaseTable(Path(url.path), scope, label=url.label)


class SqliteLeaseTable:
    """The rows of one application on one stream."""

    def __init__(
        self, file: Path, scope: Scope, sleep: Callable[[float], None] = time.sleep, label: str = "--leases"
    ) -> None:
        self._path, self._named, self._sleep = file, f"{label} {file}", sleep
        self._scope = {"application": scope.application, "stream": scope.stream}
        self._file = SqliteFile(file, label, self._prepare, LeaseTableUnavailable, scope.timeout, advice=LOST)
        self._writing = threading.Lock()
        self._wrote_at = float("-inf")
        self._unreadable: Mapping[str, str] = {}
        self._had_rows = False

    def exists(self) -> bool:
        try:
            return self._path.exists()
        except OSError:  # the first use of the file says what is wrong
            return True

    def check(self) -> None:
        self._file.check()

    def scan(self) -> Sequence[Lease]:
        with self._file.reading() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(FIELDS)} FROM leases WHERE application = :application AND stream = :stream",
                self._scope,
            ).fetchall()
        found = {str(row[SHARD_ID]): _lease_or_reason(row) for row in rows}
        self._had_rows = self._had_rows or bool(found)
        self._unreadable = {shard_id: str(why) for shard_id, why in found.items() if isinstance(why, UnreadableRow)}
        return [lease for lease in found.values() if isinstance(lease, Lease)]

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        with self._file.reading() as connection:
            rows = [self._row(connection, shard_id) for shard_id in shard_ids]
        return [row for row in rows if row is not None]

    def unreadable(self) -> Mapping[str, str]:
        return self._unreadable

    def assignees(self) -> Collection[str]:
        """Return nothing: no KCL reads this table."""
        return ()

    def create(self, lease: Lease) -> None:
        with self._transaction() as connection:
            names = ", ".join(FIELDS)
            marks = ", ".join(f":{name}" for name in FIELDS)
            connection.execute(
                f"INSERT INTO leases (application, stream, {names}, updated_at)"
                f" VALUES (:application, :stream, {marks}, datetime()) ON CONFLICT DO NOTHING",
                self._scope | stored(lease, FIELDS),
            )
        self._had_rows = True

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._transaction() as connection:
            renewals = [change for change in changes if _differing(change) <= RENEWAL]
            renewed = self._renew(connection, renewals) if renewals else set()
            done = {
                change.after.shard_id: change.after.shard_id in renewed
                if _differing(change) <= RENEWAL
                else self._swap(connection, change)
                for change in changes
            }
            return [Written(self._row(connection, shard_id), done[shard_id]) for shard_id in done]

    def rewrite(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._transaction() as connection:
            done = [self._swap(connection, change, revive=True) for change in changes]
            rows = [self._row(connection, change.after.shard_id) for change in changes]
            return [Written(row, one) for row, one in zip(rows, done, strict=True)]

    def remove(self, lease: Lease) -> bool:
        with self._transaction() as connection:
            seen = {f"seen_{name}": value for name, value in _seen(lease).items()}
            connection.execute(
                f"DELETE FROM leases WHERE {UNCHANGED}", self._scope | {"shard_id": lease.shard_id} | seen
            )
            return self._row(connection, lease.shard_id) is None

    def want(self, lease: Lease, worker_id: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE leases SET wanted_by = :worker WHERE {KEY} AND owner IS :owner AND wanted_by IS NULL",
                self._scope | {"shard_id": lease.shard_id, "owner": lease.owner, "worker": worker_id},
            )

    def answer_halt(self, lease: Lease, halt: Halt | None) -> bool:
        values = {"shard_id": lease.shard_id, "seen": stored(lease, ["halted"])["halted"]}
        with self._transaction() as connection:
            done = connection.execute(
                f"UPDATE leases SET halted = :halted WHERE {KEY} AND halted IS :seen",
                self._scope | values | {"halted": halt and halt.text},
            )
            return done.rowcount == 1

    def delete(self, lease: Lease) -> None:
        if not lease.ended:
            return
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM leases WHERE {KEY} AND counter = :counter AND checkpoint = :checkpoint",
                self._scope | stored(lease, ("shard_id", "counter", "checkpoint")),
            )

    def close(self) -> None:
        self._file.close()

    # One statement each ----------------------------------------------------------------------------------------------

    def _renew(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> set[str]:
        """Write all renewals with one statement. Return the shards whose rows were unchanged and are renewed."""
        renewals = [
            [
                change.after.shard_id,
                change.after.ended,
                *_seen(change.before).values(),
                *stored(change.after, sorted(RENEWAL)).values(),
            ]
            for change in changes
        ]
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS renewals (s, e, c, o, h, t, counter, read_to, throughput, token)"
        )
        connection.execute("DELETE FROM renewals")
        connection.executemany("INSERT INTO renewals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", renewals)
        rows = connection.execute(
            "UPDATE leases SET counter = renewals.counter, token = renewals.token, read_to = renewals.read_to,"
            " throughput = renewals.throughput, updated_at = datetime() FROM renewals"
            " WHERE application = :application AND stream = :stream AND shard_id = s AND leases.counter = c"
            " AND owner IS o AND checkpoint_owner IS h AND leases.token IS t AND (checkpoint <> 'SHARD_END' OR e)"
            " RETURNING shard_id",
            self._scope,
        )
        return {row[0] for row in rows}

    def _swap(self, connection: sqlite3.Connection, change: Change, revive: bool = False) -> bool:
        names = sorted(_differing(change))
        sets = ", ".join(f"{name} = :{name}" for name in names)
        values = {f"seen_{name}": value for name, value in _seen(change.before).items()}
        done = connection.execute(
            f"UPDATE leases SET {sets}, updated_at = datetime() WHERE {AS_SEEN}",
            self._scope
            | {"shard_id": change.after.shard_id, "ends": change.after.ended or revive}
            | values
            | stored(change.after, names),
        )
        return done.rowcount == 1

    def _row(self, connection: sqlite3.Connection, shard_id: str) -> Lease | None:
        row = connection.execute(
            f"SELECT {', '.join(FIELDS)} FROM leases WHERE {KEY}", self._scope | {"shard_id": shard_id}
        ).fetchone()
        lease = _lease_or_reason(row) if row else None
        return lease if isinstance(lease, Lease) else None

    # The file --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._sleep(max(0.0, self._wrote_at + PAUSE - time.monotonic()))
            try:
                with self._file.transaction() as connection:
                    yield connection
            finally:
                self._wrote_at = time.monotonic()

    def _prepare(self, connection: sqlite3.Connection, new: bool) -> None:
        """Create the table in a new file. After rows were seen, reject a file without any: reading would start over."""
        require_whole(connection)  # with a damaged index, rows would be found by one query and not by another
        if new or not self._had_rows:
            columns = ", ".join(FIELDS)
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS leases (application, stream, {columns}, updated_at,"
                " PRIMARY KEY (application, stream, shard_id))"
            )
        elif not self._has_rows(connection):
            raise ConfigurationError(
                f"{self._named}: holds no leases of application {self._scope['application']!r} any more; nothing is"
                " delivered: put the lease table back, or restart this worker to create a new one"
            )
        found = {row[1] for row in connection.execute("PRAGMA table_info(leases)")}
        for name in ADDED - found if "shard_id" in found else ():
            connection.execute(f"ALTER TABLE leases ADD COLUMN {name}")
            found.add(name)
        if missing := [name for name in FIELDS if name not in found]:
            raise ConfigurationError(f"{self._named}: made by another version; it has no {missing[0]}")

    def _has_rows(self, connection: sqlite3.Connection) -> bool:
        if not connection.execute("PRAGMA table_info(leases)").fetchall():
            return False
        query = "SELECT 1 FROM leases WHERE application = :application AND stream = :stream LIMIT 1"
        return connection.execute(query, self._scope).fetchone() is not None


def _differing(change: Change) -> set[str]:
    return {name for name in FIELDS if getattr(change.before, name) != getattr(change.after, name)}


def _seen(lease: Lease) -> dict[str, Any]:
    return stored(lease, SEEN)


def _lease_or_reason(row: Sequence[Any]) -> Lease | UnreadableRow:
    try:
        return lease_of(row)
    except UnreadableRow as error:
        return error
