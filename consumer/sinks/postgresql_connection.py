"""Share connections to one server between all sinks and shards of the process, one transaction at a time.

A shard that writes takes an idle connection or opens one, so there are never more than shards that write at once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import psycopg
from psycopg.pq import TransactionStatus

from consumer.errors import SinkUnavailable
from consumer.sinks.postgresql_errors import HEALTHY
from consumer.sinks.postgresql_login import Parameters
from consumer.sinks.postgresql_statements import begin

Connection: TypeAlias = psycopg.Connection[Any]
IDLE = 60.0  # seconds after which an unused connection is closed
_shared: "WeakValueDictionary[tuple[object, ...], Connections]" = WeakValueDictionary()
_lock = threading.Lock()


def shared_connections(parameters: Parameters, read_anew: Callable[[], Parameters], timeout: float) -> "Connections":
    """Return the connections to this server, the same for every sink of the process."""
    key = (*sorted(parameters.items()), timeout)
    with _lock:
        return _shared.setdefault(key, Connections(parameters, read_anew, timeout))


class Connections:
    """The connections to one server. `read_anew` returns the parameters that may change, before each connection.

    No wait for the server takes longer than `timeout` seconds, also when it is stopped and does not respond.
    """

    def __init__(self, parameters: Parameters, read_anew: Callable[[], Parameters], timeout: float) -> None:
        self._parameters, self._read_anew, self._timeout = parameters, read_anew, timeout
        self._begin = begin(timeout)
        self._idle: list[tuple[Connection, float]] = []
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection on which a transaction has begun, and commit it.

        Raises:
            psycopg.Error: the transaction is rolled back, or it is unknown whether it is committed.
        """
        connection = self._begun()
        try:
            yield connection
            committed = connection.execute("COMMIT").statusmessage == "COMMIT"
        except BaseException as error:
            self._give_up(connection, error)
            raise
        if not committed:  # PostgreSQL answers ROLLBACK without an error
            self._give_up(connection, None)
            raise SinkUnavailable("the server rolled the transaction back")
        self._keep(connection)

    def close_idle(self, longer_than: float = 0.0) -> None:
        """Close the connections that were unused for so many seconds."""
        before = time.monotonic() - longer_than
        with self._lock:
            old = [one for one, since in self._idle if since <= before]
            self._idle = [(one, since) for one, since in self._idle if since > before]
        for connection in old:
            connection.close()

    def _begun(self) -> Connection:
        """Begin a transaction. Replace connections that died while they were idle."""
        while (connection := self._take()) is not None:
            try:
                connection.execute(self._begin)
                return connection
            except psycopg.Error:
                connection.close()
                self.close_idle()  # they lead to the same server
        connection = self._connect()
        try:
            connection.execute(self._begin)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> Connection:
        connection = psycopg.connect(autocommit=True, prepare_threshold=None, **self._parameters | self._read_anew())
        vars(connection)["wait"] = partial(connection.wait, timeout=self._timeout)
        return connection

    def _give_up(self, connection: Connection, error: BaseException | None) -> None:
        """End a failed transaction, and keep the connection if it is as good as before."""
        if isinstance(error, HEALTHY):
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
                if connection.info.transaction_status == TransactionStatus.IDLE:
                    self._keep(connection)
                    return
        connection.close()

    def _take(self) -> Connection | None:
        with self._lock:
            return self._idle.pop()[0] if self._idle else None

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            self._idle.append((connection, time.monotonic()))
        self.close_idle(IDLE)
