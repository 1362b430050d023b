"""Test what the PostgreSQL sink makes of URLs, without a server."""

import sys
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs

import pytest

from consumer.adapters import connect_sink, table_scripts
from consumer.aws.access import Accesses
from consumer.errors import ConfigurationError
from consumer.settings import load
from consumer.sinks import postgresql
from consumer.urls import options_of, parse
from tests.contracts.postgresql_place import CALLS
from tests.needs import need

PASSWORD = "hush+hush"


@pytest.fixture(autouse=True)
def _driver() -> None:
    need(find_spec("psycopg") is not None, "psycopg (the extra `postgres`)")


def parameters(text: str) -> dict[str, Any]:
    """Return libpq's parameters for a URL."""
    from consumer.sinks.postgresql_login import parameters_of

    url = parse("--sink", text)
    return parameters_of(url, options_of(url, postgresql.Options), 8.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:a%40b@db:6432/calls?sslmode=verify-full", "me a@b db 6432 calls verify-full"),
        ("postgresql://db/calls?schema=x&on_conflict=replace", "None None db None calls None"),
        ("postgresql:///calls?host=/run/postgresql", "None None /run/postgresql None calls None"),
        ("postgresql:///?service=calls", "None None None None None None"),
        ("postgresql:?password=hush+hush", "None hush+hush None None None None"),
        ("postgresql://a:1,b:2/calls?target_session_attrs=read-write", "None None a,b 1,2 calls None"),
    ],
)
def test_the_url_is_libpqs(text: str, expected: str) -> None:
    """What it leaves out comes from libpq's environment, service file and passfile."""
    found = parameters(text)
    names = ("user", "password", "host", "port", "dbname", "sslmode")
    assert " ".join(str(found.get(name)) for name in names) == expected
    assert (found["tcp_user_timeout"], found["connect_timeout"], found["client_encoding"]) == (8000, 4, "UTF8")
    assert parameters("postgresql://db/x?connect_timeout=9")["connect_timeout"] == "9"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"postgresql://me:{PASSWORD}/x@db/calls", "percent-encode"),
        (f"postgresql://me:{PASSWORD}@x@db/calls", "percent-encode"),
        (f"postgresql://me:{PASSWORD}%zz@db/calls", "percent-encode"),
        (f"postgresql://me:{PASSWORD}@db/calls?shema=x", "unknown option 'shema'; did you mean schema?"),
        (f"postgresql://me:{PASSWORD}@db/calls?on_conflict=skip", "option 'on_conflict'"),
        (f"postgresql://me:{PASSWORD}@db/calls?schema=a%25b", "option 'schema'"),
        (f"postgresql://me:{PASSWORD}@db/calls?table=a%22b", "option 'table'"),
        (f"postgresql://:{PASSWORD}@db/calls?iam=true", "needs the user"),
        ("postgresql://me@/calls?iam=true", "needs the host"),
    ],
)
def test_a_wrong_url_is_reported_without_its_password(text: str, problem: str) -> None:
    """A special character that is not encoded makes a part of the password a host or a port."""
    with pytest.raises(ConfigurationError, match=problem) as raised:
        connect_sink("--sink", text, CALLS)
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_token_of_iam_is_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made for each connection, because it is valid for 15 minutes. The region is in the host's name."""
    from consumer.sinks.postgresql_login import parameters_of, password_source

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    url = parse("--sink", "postgresql://worker@calls.abc.eu-west-1.rds.amazonaws.com/calls?iam=true")
    options = options_of(url, postgresql.Options)
    login = parameters_of(url, options, 8.0)
    token = password_source("--sink", options, login, Accesses())()["password"]
    host, _, query = token.partition("/?")
    assert host == "calls.abc.eu-west-1.rds.amazonaws.com:5432"
    assert parse_qs(query)["DBUser"] == ["worker"]
    assert "/eu-west-1/rds-db/" in parse_qs(query)["X-Amz-Credential"][0]
    assert login["sslmode"] == "require"


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra, and the other sinks do not need it."""
    for name in [name for name in sys.modules if name.startswith("consumer.sinks.postgresql_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'call-request-consumer\[postgres\]'"):
        connect_sink("--sink", "postgresql://db/calls", CALLS)


def test_the_script_has_the_tables_that_the_sinks_need() -> None:
    """Without a sink in PostgreSQL it shows both."""
    both = table_scripts(load({}, environ={}))
    assert ["call_requests" in both[0], "dead_letters" in both[1]] == [True, True]
    [one] = table_scripts(load({"dead_letters": "postgresql://db/x?schema=calls&table=bad"}, environ={}))
    assert 'CREATE SCHEMA IF NOT EXISTS "calls";' in one
    assert 'CREATE TABLE "calls"."bad" (' in one
