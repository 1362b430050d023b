"""Write to PostgreSQL while it restarts, locks, refuses or is full. Nothing is lost, and nothing is written twice."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ConsumerError, SinkUnavailable
from consumer.sinks import Sink
from tests.contracts.postgresql_place import CALLS, Lines, Place, calls
from tests.servers.postgresql import PostgreSql

QUICK = replace(CALLS, timeout=0.4)
SECRET = "+15551234567"
ROWS = calls(1000)


@pytest.fixture
def place(postgresql_server: PostgreSql) -> Place:
    return Place(postgresql_server)


def written_once(place: Place, sink: Sink, rows: Lines, known: int = 0) -> None:
    """Write rows, which has to work, and check that each is in the table once."""
    assert sink.write(rows) == known
    assert place.run("SELECT count(*), count(DISTINCT event_id) FROM call_requests") == [(len(rows), len(rows))]


def fails(place: Place, code: str, times: int) -> None:
    """Let the next INSERTs into the table fail with a code. A sequence also counts those that are rolled back."""
    place.run("CREATE SEQUENCE IF NOT EXISTS tries; ALTER SEQUENCE tries RESTART")
    place.run(
        f"CREATE OR REPLACE FUNCTION {place.namespace}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('{place.namespace}.tries') <= {times} THEN"
        f" RAISE EXCEPTION '{SECRET}' USING ERRCODE = '{code}'; END IF; RETURN NULL; END $$"
    )
    place.run(
        "CREATE OR REPLACE TRIGGER fails BEFORE INSERT ON call_requests FOR EACH STATEMENT"
        f" EXECUTE FUNCTION {place.namespace}.fail()"
    )


@pytest.mark.parametrize("code", ["40P01", "40001"])
@pytest.mark.parametrize("count", [10, 1000], ids=["parameter", "staged"])
def test_deadlocks_and_serialization_failures_are_retried_at_once(place: Place, code: str, count: int) -> None:
    """Delivery would wait and log it."""
    sink = place.opened()
    fails(place, code, times=3)
    written_once(place, sink, Lines(ROWS[:count]))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("53100", "disk is full"),
        ("53300", "max_connections"),
        ("57P01", "57P01"),
        ("XX000", "InternalError_ .XX000"),
        ("40P01", "DeadlockDetected"),
        ("42501", "permissions"),
    ],
)
def test_what_may_pass_is_retried(place: Place, code: str, words: str) -> None:
    """The message says what to do."""
    sink = place.opened()
    fails(place, code, times=4)
    with pytest.raises(SinkUnavailable, match=words):
        sink.write(Lines(ROWS))
    fails(place, code, times=0)
    written_once(place, sink, Lines(ROWS))


def test_a_lock_ends_the_attempt_and_not_the_worker(place: Place) -> None:
    """Another program may lock the table for hours."""
    import psycopg

    sink = place.opened(QUICK)
    with psycopg.connect(place.server.url()) as other:
        other.execute(f"LOCK TABLE {place.namespace}.call_requests")
        for count in (10, 1000):
            with pytest.raises(SinkUnavailable, match="holds a lock"):
                sink.write(Lines(ROWS[:count]))
    written_once(place, sink, Lines(ROWS[:100]))


def test_a_read_only_server_is_waited_for(place: Place) -> None:
    """A standby says the same. The next attempt has a new connection, which may lead to the new primary."""
    place.opened()
    place.run(f"CREATE ROLE reader_{place.namespace} LOGIN SUPERUSER")
    user = f"reader_{place.namespace}"
    place.run(f"ALTER ROLE {user} SET default_transaction_read_only = on")
    sink = place.open(user=user)
    for attempt in (sink.check, lambda: sink.write(Lines(ROWS)), lambda: sink.write(Lines(ROWS[:9]))):
        with pytest.raises(SinkUnavailable, match="connect to the primary"):
            attempt()
    place.run(f"ALTER ROLE {user} RESET default_transaction_read_only")
    written_once(place, sink, Lines(ROWS))


def test_a_changed_password_is_read_anew(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq reads the passfile for each connection."""
    passfile = tmp_path / "pgpass"
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    place.run(f"CREATE ROLE secretive SUPERUSER LOGIN PASSWORD 'one{SECRET}'")

    def password(text: str) -> None:
        passfile.write_text(f"*:*:*:*:{text}{SECRET}\n")
        passfile.chmod(0o600)

    password("one")
    sink = place.opened(user="secretive")
    place.run(f"ALTER ROLE secretive PASSWORD 'two{SECRET}'")
    place.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'secretive'")
    with pytest.raises(SinkUnavailable, match="password authentication failed") as raised:
        sink.write(Lines(ROWS))
    assert SECRET not in str(raised.value)
    password("two")
    written_once(place, sink, Lines(ROWS))


def test_connections_that_died_while_idle_are_replaced(place: Place) -> None:
    """A firewall or a restart ends them. No attempt fails."""
    sink = place.opened()
    place.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'call-consumer'")
    written_once(place, sink, Lines(ROWS))
    place.server.stop()
    with pytest.raises(SinkUnavailable, match=r"(?i)connection"):
        sink.write(Lines(ROWS))
    place.server.start()
    written_once(place, sink, Lines(ROWS), known=1000)


def test_a_connection_that_ends_in_the_middle_loses_nothing(place: Place) -> None:
    """It ends while lines are copied, and while a parameter is sent after another was written."""
    sink = place.opened()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'call-consumer'"
    for stages in (True, False):
        vars(sink)["_stages"] = stages
        with pytest.raises(SinkUnavailable):
            sink.write(Lines(calls(800), between=lambda: place.run(kill)))
        assert place.run("SELECT count(*) FROM call_requests") == [(0,)]
    written_once(place, sink, Lines(calls(800)))


@pytest.mark.parametrize("stages", [True, False])
def test_a_stopped_worker_does_not_leave_rows_locked(place: Place, stages: bool) -> None:
    """The next owner of the lease writes the same rows meanwhile, once the server has ended an idle transaction."""
    sink, successor = place.opened(QUICK), place.opened(CALLS)
    vars(sink)["_stages"] = stages
    rows = calls(800)
    with suppress(SinkUnavailable):
        sink.write(Lines(rows, between=lambda: written_once(place, successor, Lines(rows))))
    written_once(place, successor, Lines(rows), known=800)
    assert place.run("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'") == [(0,)]


def test_a_server_that_stops_responding_ends_the_attempt(place: Place) -> None:
    """Its kernel still acknowledges everything, so only our own limit notices."""
    sink = place.opened(QUICK)
    ours = place.run("SELECT pid FROM pg_stat_activity WHERE application_name = 'call-consumer'")
    began = time.monotonic()
    try:
        _signal(ours, signal.SIGSTOP)
        written_once(place, sink, Lines(ROWS[:100]))
    finally:
        _signal(ours, signal.SIGCONT)
    assert 0.3 < time.monotonic() - began < 3.0


def _signal(rows: Sequence[Any], number: signal.Signals) -> None:
    """Signal server processes, those of closed connections too. Some may have ended."""
    for (pid,) in rows:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def test_every_error_of_the_driver_becomes_one_of_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is raised at each statement. No message has a value, and the sink recovers."""
    import psycopg

    codes = ["22P02", "23505", "40001", "42P01", "53100", "XX001", None]
    for code in codes:
        kind = psycopg.errors.lookup(code) if code else psycopg.OperationalError
        sink = place.opened()
        for call in (sink.check, lambda: sink.write(Lines(ROWS[:200])), lambda: sink.write(Lines(ROWS[:9]))):  # noqa: B023
            for left in each_statement(monkeypatch, kind, call):
                assert isinstance(left, ConsumerError), repr(left)
                assert SECRET not in str(left) or code is None
                assert "\n" not in str(left)
        assert sink.write(Lines(ROWS[:1])) == 1


def each_statement(monkeypatch: pytest.MonkeyPatch, kind: Any, call: Callable[[], object]) -> Iterator[Exception]:
    """Repeat the call and let it fail at its first statement, its second, and so on. Yield the errors."""
    import psycopg

    real, count = psycopg.Connection.execute, 0

    def execute(self: Any, *given: Any, **named: Any) -> Any:
        nonlocal count
        count -= 1
        if count == 0:
            raise kind(f"{SECRET if kind.sqlstate else ''}\nx")
        return real(self, *given, **named)

    for number in range(1, 60):
        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "execute", execute)
            count = number
            try:
                call()
            except Exception as left:
                yield left
            if count > 0:
                return
    pytest.fail("59 statements were not enough")
