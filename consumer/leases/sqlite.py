"""A lease table in a SQLite file, shared by the worker processes of one host.

Rows are keyed by application, stream and shard. All heartbeats of a process go out in one statement. SQLite's write
lock is not fair, so after each write a process pauses before its next one: no writer starves another.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel

from consumer.errors import ConfigurationError, LeaseTableUnavailable
from consumer.leases import Change, Lease, Pending, Scope, Token, Written
from consumer.places import PlaceUrl
from consumer.records import Position, Rank

SCHEMES = ("sqlite",)
PAUSE = 0.002  # seconds between a process's write transactions
FIELDS = tuple(field.name for field in fields(Lease))
HEARTBEAT = {"counter", "token", "read_to", "throughput"}
KEY = "application = :application AND stream = :stream AND shard_id = :shard_id"
SEEN = ("counter", "owner", "checkpoint_owner", "token")
AS_SEEN = " AND ".join([KEY, *(f"{name} IS :seen_{name}" for name in SEEN), "(checkpoint <> 'SHARD_END' OR :ends)"])


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


def connect(url: PlaceUrl, options: Options, scope: Scope) -> "SqliteLeaseTable":
    """Open the table; the file is made by `check`."""
    if not url.path:
        raise ConfigurationError(f"{url.label} sqlite: name a file, such as sqlite:call-consumer.db")
    return SqliteLeaseTable(Path(url.path), scope)


class SqliteLeaseTable:
    """The rows of one application on one stream."""

    def __init__(self, file: Path, scope: Scope, sleep: Callable[[float], None] = time.sleep) -> None:
        self._file, self._timeout, self._sleep = file, scope.timeout, sleep
        self._scope = {"application": scope.application, "stream": scope.stream}
        self._local = threading.local()
        self._writing = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._wrote_at = float("-inf")

    def check(self) -> None:
        try:
            with self._transaction() as connection:
                columns = ", ".join(FIELDS)
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS leases (application, stream, {columns}, updated_at,"
                    " PRIMARY KEY (application, stream, shard_id))"
                )
                found = {row[1] for row in connection.execute("PRAGMA table_info(leases)")}
        except LeaseTableUnavailable as error:
            if "unable to open" in str(error) or "readonly" in str(error):
                raise ConfigurationError(f"--leases: {error}") from None
            raise
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"--leases {self._file}: {error}") from None
        if missing := [name for name in FIELDS if name not in found]:
            raise ConfigurationError(f"--leases {self._file}: made by another version; it has no {missing[0]}")

    def scan(self) -> Sequence[Lease]:
        with self._trouble():
            rows = self._connection().execute(
                f"SELECT {', '.join(FIELDS)} FROM leases WHERE application = :application AND stream = :stream",
                self._scope,
            )
            return [_lease(row) for row in rows]

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        with self._trouble():
            rows = [self._row(self._connection(), shard_id) for shard_id in shard_ids]
            return [row for row in rows if row is not None]

    def unreadable(self) -> Mapping[str, str]:
        """Nobody else writes these rows."""
        return {}

    def assignees(self) -> Collection[str]:
        """No KCL reads this table."""
        return ()

    def create(self, lease: Lease) -> None:
        with self._transaction() as connection:
            names = ", ".join(FIELDS)
            marks = ", ".join(f":{name}" for name in FIELDS)
            connection.execute(
                f"INSERT INTO leases (application, stream, {names}, updated_at)"
                f" VALUES (:application, :stream, {marks}, datetime()) ON CONFLICT DO NOTHING",
                self._scope | _stored(lease, FIELDS),
            )

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._transaction() as connection:
            beats = [change for change in changes if _differing(change) <= HEARTBEAT]
            beaten = self._beat(connection, beats) if beats else set()
            done = {
                change.after.shard_id: change.after.shard_id in beaten
                if _differing(change) <= HEARTBEAT
                else self._swap(connection, change)
                for change in changes
            }
            return [Written(self._row(connection, shard_id), done[shard_id]) for shard_id in done]

    def want(self, lease: Lease, worker_id: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE leases SET wanted_by = :worker WHERE {KEY} AND owner IS :owner AND wanted_by IS NULL",
                self._scope | {"shard_id": lease.shard_id, "owner": lease.owner, "worker": worker_id},
            )

    def delete(self, lease: Lease) -> None:
        if not lease.ended:
            return
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM leases WHERE {KEY} AND counter = :counter AND checkpoint = :checkpoint",
                self._scope | _stored(lease, ("shard_id", "counter", "checkpoint")),
            )

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    # One statement each ----------------------------------------------------------------------------------------------

    def _beat(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> set[str]:
        """All heartbeats in one statement; returns the shards whose rows were as seen."""
        beats = [
            [
                change.after.shard_id,
                change.after.ended,
                *_seen(change.before).values(),
                *_stored(change.after, sorted(HEARTBEAT)).values(),
            ]
            for change in changes
        ]
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS beats (s, e, c, o, h, t, counter, read_to, throughput, token)"
        )
        connection.execute("DELETE FROM beats")
        connection.executemany("INSERT INTO beats VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", beats)
        rows = connection.execute(
            "UPDATE leases SET counter = beats.counter, token = beats.token, read_to = beats.read_to,"
            " throughput = beats.throughput, updated_at = datetime() FROM beats"
            " WHERE application = :application AND stream = :stream AND shard_id = s AND leases.counter = c"
            " AND owner IS o AND checkpoint_owner IS h AND leases.token IS t AND (checkpoint <> 'SHARD_END' OR e)"
            " RETURNING shard_id",
            self._scope,
        )
        return {row[0] for row in rows}

    def _swap(self, connection: sqlite3.Connection, change: Change) -> bool:
        names = sorted(_differing(change))
        sets = ", ".join(f"{name} = :{name}" for name in names)
        values = {f"seen_{name}": value for name, value in _seen(change.before).items()}
        values |= {"shard_id": change.after.shard_id, "ends": change.after.ended}
        done = connection.execute(
            f"UPDATE leases SET {sets}, updated_at = datetime() WHERE {AS_SEEN}",
            self._scope
            | {"shard_id": change.after.shard_id, "ends": change.after.ended}
            | values
            | _stored(change.after, names),
        )
        return done.rowcount == 1

    def _row(self, connection: sqlite3.Connection, shard_id: str) -> Lease | None:
        row = connection.execute(
            f"SELECT {', '.join(FIELDS)} FROM leases WHERE {KEY}", self._scope | {"shard_id": shard_id}
        ).fetchone()
        return _lease(row) if row else None

    # Connections -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._trouble(), self._writing:
            self._sleep(max(0.0, self._wrote_at + PAUSE - time.monotonic()))
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            finally:
                self._wrote_at = time.monotonic()

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise LeaseTableUnavailable(f"the lease table {self._file}: {error}") from None

    def _connection(self) -> sqlite3.Connection:
        """One connection a thread, so that a scan never holds up a renewal."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._file, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
            self._connections.append(connection)
        return connection


def _differing(change: Change) -> set[str]:
    return {name for name in FIELDS if getattr(change.before, name) != getattr(change.after, name)}


def _seen(lease: Lease) -> dict[str, Any]:
    return _stored(lease, SEEN)


def _stored(lease: Lease, names: Sequence[str]) -> dict[str, Any]:
    return {name: _column(getattr(lease, name)) for name in names}


def _column(value: Any) -> Any:
    """A field as its column holds it: numbers too large for SQLite are decimal strings in JSON."""
    if isinstance(value, Position):
        return str(value.sequence) + "." + str(value.sub_sequence) if value.rank is Rank.SEQUENCE else value.rank.name
    if isinstance(value, Pending):
        return msgspec.json.encode([_column(value.end), value.text]).decode()
    if isinstance(value, tuple):
        return msgspec.json.encode([str(item) for item in value]).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _lease(row: Sequence[Any]) -> Lease:
    columns: dict[str, Any] = dict(zip(FIELDS, row, strict=True))
    columns["checkpoint"] = _position(columns["checkpoint"])
    for name in ("parents", "children"):
        columns[name] = tuple(msgspec.json.decode(columns[name]))
    low, high = msgspec.json.decode(columns["hash_range"])
    columns["hash_range"] = (int(low), int(high))
    if columns["token"] is not None:
        worker_id, start, counter = msgspec.json.decode(columns["token"])
        columns["token"] = Token(worker_id, start, int(counter))
    if columns["pending"] is not None:
        end, name = msgspec.json.decode(columns["pending"])
        columns["pending"] = Pending.stored(_position(end), name)
    for name in ("started_at", "stream_created_at", "read_to"):
        columns[name] = datetime.fromisoformat(columns[name]) if columns[name] else None
    columns["draining"] = bool(columns["draining"])
    return Lease(**columns)


def _position(text: str) -> Position:
    sequence, dot, sub_sequence = text.partition(".")
    return Position.of(int(sequence), int(sub_sequence)) if dot else Position(Rank[text])
