"""What the first line of a worker's log says of it."""

import platform

from consumer.doctor.values import about
from consumer.pipeline.dead_letters import WORKER_VERSION
from consumer.settings import load


def test_it_says_what_runs_and_which_settings_are_no_defaults() -> None:
    """Where rows, dead letters and leases go is said in any case."""
    said = about(load({"stream": "calls", "threads": 8, "sink": "sqlite:rows.db"}, environ={}))
    assert said == {
        "application": "calls",
        "version": WORKER_VERSION,
        "python": platform.python_version(),
        "sink": "sqlite:rows.db",
        "dead_letters": "jsonl:dead-letters",
        "leases": "sqlite:call-consumer.db",
        "settings": {"threads": "8"},
    }


def test_it_hides_passwords_and_secrets() -> None:
    """In URLs and in their options."""
    flags = {
        "stream": "calls",
        "sink": "postgres://writer:s3cr/t@db/rows?sslpassword=s3cret&x=1",
        "dead_letters": "https://s3cret@example.com/?api_key=s3cret&signature=s3cret",
        "leases": "dynamodb:t?auth_token=s3cret",
    }
    said = str(about(load(flags, environ={})))
    assert "s3cr" not in said
    assert said.count("***") == 6
    assert "writer:" in said
    assert "x=1" in said
