"""Run worker processes with a lease table in DynamoDB."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from consumer.leases.dynamodb.item import is_lease
from tests import kcl_parser
from tests.events import numbered_event
from tests.integration.workers import CREDENTIALS, STREAM


@dataclass
class Setting:
    """A stream with two shards, a DynamoDB, and a place for rows."""

    kinesis: Any
    dynamodb: Any
    directory: Path
    kinesis_url: str
    dynamodb_url: str

    def publish(self, numbers: range) -> None:
        for number in numbers:
            self.kinesis.put_record(StreamName=STREAM, Data=numbered_event(number), PartitionKey=str(number))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "consumer", "run", STREAM, "--endpoint-url", self.kinesis_url]
        command += ["--until-caught-up", "--sink", "jsonl:rows", *arguments]
        environment = os.environ | CREDENTIALS
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=90, check=False
        )

    def rows(self) -> list[str]:
        return [
            line for file in sorted(self.directory.glob("rows/**/*.jsonl*")) for line in file.read_text().splitlines()
        ]

    def items(self, table: str) -> list[dict[str, Any]]:
        return list(self.dynamodb.scan(TableName=table)["Items"])


@pytest.fixture
def place(moto_server: str, dynamodb_local_server: str, tmp_path: Path) -> Iterator[Setting]:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    kinesis: Any = boto3.client("kinesis", endpoint_url=moto_server, **keys)  # type: ignore[call-overload]
    dynamodb: Any = boto3.client("dynamodb", endpoint_url=dynamodb_local_server, **keys)  # type: ignore[call-overload]
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    yield Setting(kinesis, dynamodb, tmp_path, moto_server, dynamodb_local_server)
    kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    for client in (kinesis, dynamodb):
        client.close()


def test_a_run_continues_where_the_last_one_ended(place: Setting) -> None:
    """The table is created with the name of the application, and the second run delivers only new records."""
    leases = f"dynamodb:?endpoint_url={place.dynamodb_url}"
    place.publish(range(20))
    first = place.run("--leases", leases, "--application", "resumed")
    assert first.returncode == 0, first.stderr
    place.publish(range(20, 25))
    second = place.run("--leases", leases, "--application", "resumed")
    assert second.returncode == 0, second.stderr
    assert len(place.rows()) == 25
    assert len(set(place.rows())) == 25


def test_kcl_can_read_the_table_of_a_run(place: Setting) -> None:
    """Every item is a valid lease for KCL, without an owner after the worker ended."""
    place.publish(range(10))
    ended = place.run("--leases", f"dynamodb:kcl-reads?endpoint_url={place.dynamodb_url}")
    assert ended.returncode == 0, ended.stderr
    items = place.items("kcl-reads")
    assert len(items) == 2
    assert all(is_lease(item) for item in items)
    assert {kcl_parser.parse(item).owner for item in items} == {None}
    assert all(kcl_parser.parse(item).counter > 0 for item in items)


def test_an_invalid_lease_table_is_one_line_and_exit_code_2(place: Setting) -> None:
    """One example is a table of another program."""
    place.dynamodb.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    ended = place.run("--leases", f"dynamodb:orders?endpoint_url={place.dynamodb_url}")
    assert ended.returncode == 2
    assert "table orders is not a lease table: its key is id (S), not leaseKey (S)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert place.items("orders") == []
