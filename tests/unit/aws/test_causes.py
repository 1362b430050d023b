"""Derive one cause from failures of different calls to the same dependency."""

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import exceptions as raised
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from consumer.aws.calls import Calls
from consumer.aws.credentials import SharedCredentials
from consumer.errors import ConsumerError, CredentialsUnavailable, LeaseTableUnavailable, StreamUnavailable
from consumer.leases import Change, Lease, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.dynamodb.provisioning import Options
from consumer.leases.dynamodb.table import DynamoDbLeaseTable
from consumer.records import TRIM_HORIZON
from consumer.streams.kinesis import KinesisStream
from consumer.telemetry.outages import cause_of
from tests.integration.workers import client

NOWHERE = "http://127.0.0.1:9"
ROWS = [Lease("a"), Lease("b")]
CHANGES = [Change(row, steps.taken(row, WorkerIdentity("me", "1"))) for row in ROWS]
TABLE_CALLS: list[Callable[[DynamoDbLeaseTable], object]] = [
    lambda table: table.scan(),
    lambda table: table.read(["a"]),
    lambda table: table.write(CHANGES[:1]),
    lambda table: table.write(CHANGES),
    lambda table: table.create(ROWS[0]),
    lambda table: table.want(ROWS[0], "me"),
    lambda table: table.delete(ROWS[0]),
]
STREAM_CALLS: list[Callable[[KinesisStream], object]] = [
    lambda stream: stream.shards(),
    lambda stream: stream.summary(),
    lambda stream: stream.open("shard", TRIM_HORIZON),
    lambda stream: stream.fetch("iterator", 100),
]
NETWORK: list[Callable[[], Exception]] = [
    lambda: raised.EndpointConnectionError(endpoint_url=NOWHERE, error="refused"),
    lambda: raised.ConnectionClosedError(endpoint_url=NOWHERE),
    lambda: raised.ConnectTimeoutError(endpoint_url=NOWHERE),
    lambda: raised.ReadTimeoutError(endpoint_url=NOWHERE),
]


def cause(call: Callable[[], object]) -> Hashable:
    with pytest.raises(ConsumerError) as failed:
        call()
    return cause_of(failed.value)


def answering(service: Any, answer: Callable[[str], tuple[int, dict[str, Any]]]) -> Any:
    """Return a client whose responses come from `answer`."""
    made = client(service, NOWHERE)

    def reply(model: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        status, body = answer(model.name)
        return AWSResponse(NOWHERE, status, HTTPHeaders(), None), body

    made.meta.events.register(f"before-call.{service}", reply)
    return made


def failing(service: Any, error: Exception) -> Any:
    """Return a client whose calls all raise `error`."""
    made = client(service, NOWHERE)

    def fail(**_: Any) -> None:
        raise error

    made.meta.events.register(f"before-send.{service}", fail)
    return made


@pytest.mark.parametrize("batches", [True, False])
def test_a_throttled_table_is_one_cause_for_every_call(batches: bool) -> None:
    """DynamoDB has several codes for throttling."""
    causes = set()
    for code in ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"):
        body = {"Error": {"Code": code, "Message": "Rate exceeded. See: https://example.com"}}
        made = answering("dynamodb", lambda _, body=body: (400, body))  # type: ignore[misc]
        table = DynamoDbLeaseTable(made, "leases", Options())
        table._batches = batches
        causes |= {cause(lambda call=call, table=table: call(table)) for call in TABLE_CALLS}  # type: ignore[misc]
        made.close()
    assert len(causes) == 1


def test_a_throttled_statement_and_a_throttled_call_have_one_cause() -> None:
    """DynamoDB reports a throttled statement inside a successful response."""
    refused = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}
    parts = answering("dynamodb", lambda _: (200, {"Responses": [refused, refused]}))
    table = DynamoDbLeaseTable(parts, "leases", Options())
    table._batches = True
    whole = answering("dynamodb", lambda _: (400, {"Error": {"Code": "ThrottlingException", "Message": "slow"}}))
    assert cause(lambda: table.write(CHANGES)) == cause(DynamoDbLeaseTable(whole, "leases", Options()).scan)
    parts.close()
    whole.close()


def test_an_unreachable_stream_is_one_cause_for_every_call() -> None:
    """A server that goes down causes several network errors."""
    causes = set()
    for made_error in NETWORK:
        made = failing("kinesis", made_error())
        stream = KinesisStream("calls", made)
        causes |= {cause(lambda call=call, stream=stream: call(stream)) for call in STREAM_CALLS}  # type: ignore[misc]
        made.close()
    assert len(causes) == 1


def test_each_dependency_and_each_failure_is_a_separate_cause() -> None:
    """The stream and the lease table are unreachable, or their certificate is invalid."""
    causes = set()
    for error in (NETWORK[0](), raised.SSLError(endpoint_url=NOWHERE, error=OSError("x"))):
        stream, table = failing("kinesis", error), failing("dynamodb", error)
        causes |= {
            cause(KinesisStream("calls", stream).shards),
            cause(DynamoDbLeaseTable(table, "t", Options()).scan),
        }
        stream.close()
        table.close()
    assert len(causes) == 4


class Endpoint:
    """A source of credentials that always fails."""

    asking = "the container's credentials endpoint"

    def __call__(self) -> None:
        raise CredentialsUnavailable(f"{self.asking}: HTTP 500")


def test_missing_credentials_are_one_cause_for_every_call() -> None:
    """The renewal fails, and no call to any service can be signed."""
    credentials = SharedCredentials(Endpoint(), lambda: datetime(2026, 1, 1, tzinfo=UTC))
    credentials.has_renewal = True
    credentials.load()
    assert credentials.trouble is not None
    causes = {cause_of(credentials.trouble)}
    made = client("kinesis", NOWHERE)
    for kind in (StreamUnavailable, LeaseTableUnavailable):

        def ask(kind: type[ConsumerError] = kind) -> None:
            with Calls(kind.__name__, made, kind).running("Call"):
                credentials.get_frozen_credentials()

        causes.add(cause(ask))
    made.close()
    assert len(causes) == 1
