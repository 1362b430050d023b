"""Write to PostgreSQL from worker processes that are killed, while the server crashes too."""

import signal
from pathlib import Path
from typing import Any

from tests.integration.workers import put, run, start, wait_until
from tests.servers.postgresql import PostgreSql, postgresql

EVENTS = 400


def count(server: PostgreSql) -> tuple[int, int]:
    """Return the number of rows, and of different events among them. There may be no table yet."""
    import psycopg

    with psycopg.connect(server.url()) as connection:
        if connection.execute("SELECT to_regclass('call_requests')").fetchone() == (None,):
            return 0, 0
        query = "SELECT count(*), count(DISTINCT event_id) FROM call_requests"
        return connection.execute(query).fetchone() or (0, 0)


def test_kills_of_worker_and_server_lose_and_repeat_nothing(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """The killed worker leaves a batch in flight, and the next one writes it again."""
    with postgresql() as server:
        sinks = ("--sink", server.url(), "--dead-letters", server.url())
        options = (*sinks, "--lease-duration", "1", "--log-level", "error")
        put(kinesis, range(EVENTS // 2), per_record=5)
        worker = start(tmp_path, endpoint, *options, "--batch-rows", "5")
        wait_until(lambda: count(server)[0])
        server.stop(signal.SIGKILL)
        worker.kill()
        worker.wait()
        server.start()
        put(kinesis, range(EVENTS // 2, EVENTS), per_record=5)
        assert 0 < count(server)[0] < EVENTS
        assert run(tmp_path, endpoint, *options, "--until-caught-up").returncode == 0
        assert count(server) == (EVENTS, EVENTS)
