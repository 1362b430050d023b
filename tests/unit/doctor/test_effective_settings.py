"""Build the fields of `worker.started`."""

import platform

from consumer.doctor.effective_settings import startup_fields
from consumer.pipeline.dead_letters import WORKER_VERSION
from consumer.settings import load


def test_the_fields_contain_all_settings_that_differ_from_their_default() -> None:
    """The locations of rows, dead letters and leases are always included."""
    said = startup_fields(load({"stream": "calls", "threads": 8, "sink": "sqlite:rows.db"}, environ={}))
    assert said == {
        "application": "calls",
        "version": WORKER_VERSION,
        "python": platform.python_version(),
        "sink": "sqlite:rows.db",
        "dead_letters": "jsonl:dead-letters",
        "leases": "sqlite:call-consumer.db",
        "settings": {"threads": "8"},
    }


def test_the_fields_hide_passwords_and_secrets() -> None:
    """They may be in URLs and in URL options."""
    flags = {
        "stream": "calls",
        "sink": "postgres://writer:s3cr/t@db/rows?sslpassword=s3cret&x=1",
        "dead_letters": "https://s3cret@example.com/?api_key=s3cret&signature=s3cret",
        "leases": "dynamodb:t?auth_token=s3cret",
    }
    said = str(startup_fields(load(flags, environ={})))
    assert "s3cr" not in said
    assert said.count("***") == 6
    assert "writer:" in said
    assert "x=1" in said
