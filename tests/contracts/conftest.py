"""Provide every lease table for the contract. Servers start when the first test needs them."""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from consumer.leases import LeaseTable, Scope
from consumer.leases import sqlite as sqlite_leases
from consumer.leases.dynamodb import table as dynamodb_leases
from consumer.leases.dynamodb.client import dynamodb_client
from consumer.leases.dynamodb.provisioning import Options
from consumer.leases.dynamodb.table import DynamoDbLeaseTable
from consumer.leases.memory import MemoryLeaseTable
from consumer.urls import options_of, parse
from tests.contracts.places import OPEN
from tests.servers.dynamodb import dynalite
from tests.servers.postgresql import PostgreSql, postgresql

STORES = ("dynamodb-local", "moto", "dynalite")
KINDS = ("memory", "sqlite", *STORES)
TIMEOUT = 5.0
NUMBERS = itertools.count(1)

Connect = Callable[[], LeaseTable]


@pytest.fixture(scope="session")
def dynalite_server() -> Iterator[str]:
    with dynalite() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSql]:
    with postgresql() as server:
        yield server


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where a SQLite sink writes."""
    return tmp_path / "rows.db"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close all tables and sinks that the test opened."""
    yield
    while OPEN:
        OPEN.pop().close()


def dynamodb_table(url: str, name: str = "", timeout: float = TIMEOUT, more: str = "") -> DynamoDbLeaseTable:
    """Connect to a table as a worker does. Without a name it is the table of the application `calls`."""
    place = parse("--leases", f"dynamodb:{name}?endpoint_url={url}&region=us-east-1{more}")
    scope = Scope("calls", "twilio-events", timeout)
    return dynamodb_leases.connect(place, options_of(place, Options), scope)


@functools.cache
def client_of(url: str) -> Any:
    """Return one client per store for all tests, because making one takes longer than most tests."""
    scope = Scope("calls", "twilio-events", TIMEOUT, "us-east-1", url)
    return dynamodb_client(scope, None, None)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Provide the URL of each store that speaks DynamoDB."""
    url: str = request.getfixturevalue(f"{request.param.replace('-', '_')}_server")
    return url


@pytest.fixture
def raw(dynamodb_local_server: str) -> Iterator[Any]:
    """Provide a plain client of DynamoDB Local, to write as another program."""
    client = boto3.client("dynamodb", endpoint_url=dynamodb_local_server, region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """Return the name of a table that no other test uses."""
    return f"leases-{next(NUMBERS)}"


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Iterator[Connect]:
    """Return a function that connects to one new table, as several processes would."""
    opened: list[LeaseTable] = []
    if request.param == "memory":
        shared = MemoryLeaseTable()
        make: Connect = lambda: shared  # noqa: E731
    elif request.param == "sqlite":
        place = parse("--leases", f"sqlite:{tmp_path / 'leases.db'}")
        scope = Scope("calls", "twilio-events", TIMEOUT)
        make = lambda: sqlite_leases.connect(place, sqlite_leases.Options(), scope)  # noqa: E731
    else:
        client = client_of(request.getfixturevalue(f"{request.param.replace('-', '_')}_server"))
        make = lambda: DynamoDbLeaseTable(client, name, Options())  # noqa: E731

    def connected() -> LeaseTable:
        table = make()
        table.check()
        opened.append(table)
        return table

    yield connected
    for table in opened:
        table.close()


@pytest.fixture
def table(connect: Connect) -> LeaseTable:
    """Provide a connection of one worker to a new table."""
    return connect()
