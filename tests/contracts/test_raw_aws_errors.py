"""Check that every error of botocore, DNS, TLS, proxies and JSON leaves an AWS adapter as one of our errors.

Each exception and each invalid response of a table meets every call of the stream and of the DynamoDB lease table.
"""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore import exceptions as raised
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from urllib3.exceptions import DecodeError, IncompleteRead, NewConnectionError, ProtocolError
from urllib3.exceptions import SSLError as UrllibSSLError

from consumer.aws.codes import THROTTLED, TRANSIENT
from consumer.errors import (
    ConfigurationError,
    ConsumerError,
    IteratorExpired,
    LeaseTableUnavailable,
    Retryable,
    ShardGone,
    StreamUnavailable,
    Throttled,
)
from consumer.leases import Change, Lease, Scope, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.dynamodb.client import dynamodb_client
from consumer.leases.dynamodb.provisioning import Options
from consumer.leases.dynamodb.table import DynamoDbLeaseTable
from consumer.records import SHARD_END, TRIM_HORIZON
from consumer.streams.kinesis import KinesisStream, kinesis_client

SECRET = "+15551234567"
URL = "http://asked.invalid/"


def connection(cause: Exception) -> Exception:
    """Return a connection failure as urllib3 and botocore wrap it."""
    inner = NewConnectionError(None, SECRET)  # type: ignore[arg-type]
    inner.__cause__ = cause
    return raised.EndpointConnectionError(endpoint_url=URL, error=inner)


RAISED: dict[str, tuple[Exception, str]] = {
    "refused": (
        connection(ConnectionRefusedError(111, "Connection refused")),
        "connection refused: check that it is running",
    ),
    "unknown host": (connection(socket.gaierror(-2, "Name or service not known")), "unknown host"),
    "unreachable": (connection(OSError(101, "Network is unreachable")), "network is unreachable"),
    "too many files": (connection(OSError(24, "Too many open files")), "too many open files"),
    "read timeout": (raised.ReadTimeoutError(endpoint_url=URL, error=SECRET), "ReadTimeoutError"),
    "connect timeout": (raised.ConnectTimeoutError(endpoint_url=URL, error=OSError()), "no response in time"),
    "closed": (raised.ConnectionClosedError(endpoint_url=URL, error=ProtocolError(SECRET)), "ConnectionClosedError"),
    "reset": (
        raised.HTTPClientError(error=ConnectionResetError(104, "Connection reset by peer")),
        "connection reset by peer",
    ),
    "cut off": (raised.ResponseStreamingError(error=IncompleteRead(1, 2)), "cut off"),
    "gzip": (raised.HTTPClientError(error=DecodeError(SECRET)), "decompressed"),
    "tls": (raised.SSLError(endpoint_url=URL, error=UrllibSSLError(ssl.SSLError(1, SECRET))), "TLS failed"),
    "header": (raised.HTTPClientError(error=ValueError(f"Invalid header value {SECRET}")), "ValueError"),
    "checksum": (raised.ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"), "crc32"),
    "of botocore": (raised.BotoCoreError(), "unspecified error"),
    "OSError": (OSError(SECRET), "OSError"),
    "ValueError": (ValueError(SECRET), "ValueError"),
    "KeyError": (KeyError(SECRET), "KeyError"),
    "AttributeError": (AttributeError(SECRET), "AttributeError"),
    "TypeError": (TypeError(SECRET), "TypeError"),
    "RuntimeError": (RuntimeError(SECRET), "RuntimeError"),
    "RecursionError": (RecursionError(SECRET), "RecursionError"),
    "MemoryError": (MemoryError(), "MemoryError"),
    "UnicodeDecodeError": (UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "x"), "UnicodeDecodeError"),
    "json": (json.JSONDecodeError("Expecting value", SECRET, 0), "JSONDecodeError"),
}
ANSWERED: dict[str, tuple[int, bytes, str]] = {
    "a proxy's page": (403, f"<html>{SECRET}</html>".encode(), "HTTP 403 without an error code of AWS"),
    "a gateway's page": (502, f"<html>{SECRET}</html>".encode(), "HTTP 502 without"),
    "a page that begins otherwise": (503, f"\n<!DOCTYPE html>{SECRET}".encode(), "HTTP 503 without"),
    "XML": (500, b"<ErrorResponse><Error><Code>x</Code></Error></ErrorResponse>", "HTTP 500 without"),
    "redirect": (302, b"", "is a redirect"),
    "moved": (301, f'{{"at": "{SECRET}"}}'.encode(), "is a redirect"),
    "proxy authentication": (407, b"", "the proxy requires a user and a password (407)"),
    "no code": (400, b"{}", "HTTP 400 without"),
    "no JSON": (400, f"{SECRET}".encode(), "HTTP 400 without"),
    "no UTF-8": (400, b"\xff\xfe", "UnicodeDecodeError"),
    "a list": (400, b"[]", ""),
    "null": (400, b"null", ""),
    "a number as code": (400, b'{"__type": 7}', ""),
    "too many requests": (429, b"", "HTTP 429"),
    "by a policy": (
        400,
        b'{"__type": "AccessDeniedException", "message": "User: u is not authorized with an explicit deny in a service'
        b' control policy\\nsecond line"}',
        "explicit deny in a service control policy second line",
    ),
    "signature": (
        400,
        f'{{"__type": "x#InvalidSignatureException", "message": "It does not match. The Canonical String for this'
        f' request should have been {SECRET}"}}'.encode(),
        "this machine's clock is wrong",
    ),
}


class Body:
    """The body that AWSResponse reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._body


def answer(status: int, body: bytes) -> AWSResponse:
    return AWSResponse(URL, status, HTTPHeaders(), Body(body))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Any]:
    """Provide one client for all rows of the table, because making one is slow."""
    made = kinesis_client("calls", "us-east-1", URL, 1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    made = dynamodb_client(Scope("calls", "calls", 1.0, "us-east-1", URL), None, None)
    yield made
    made.close()


def intercepted(client: Any, handler: Callable[..., Any]) -> Callable[[], None]:
    """Let `handler` respond to requests. Return a function that ends this."""
    client.meta.events.register_first("before-send", handler)
    return lambda: client.meta.events.unregister("before-send", handler)


@pytest.fixture
def meet(request: pytest.FixtureRequest) -> Iterator[Callable[[Any, Callable[..., Any]], None]]:
    """Intercept the requests of a client for one test."""
    ends: list[Callable[[], None]] = []
    yield lambda client, handler: ends.append(intercepted(client, handler))
    for end in ends:
        end()


def fails(error: Exception) -> Callable[..., Any]:
    def handler(**_: object) -> None:
        raise error

    return handler


def answers(status: int, body: bytes) -> Callable[..., Any]:
    return lambda **_: answer(status, body)


def stream_calls(client: Any) -> tuple[list[Callable[[], object]], list[Callable[[], object]]]:
    """Return the calls of the start, and those of a running worker."""
    stream = KinesisStream("calls", client)
    stream._has_read = True  # a separate test covers a missing permission before the first record
    reads: list[Callable[[], object]] = [
        lambda: stream.open("shardId-0", TRIM_HORIZON),
        lambda: stream.fetch("iterator", 20),
    ]
    return [stream.summary, stream.shards], reads


def table_calls(client: Any) -> tuple[list[Callable[[], object]], list[Callable[[], object]]]:
    table = DynamoDbLeaseTable(client, "leases", Options(), sleep=lambda _: None)
    row = Lease("shardId-0", checkpoint=SHARD_END)
    change = Change(row, steps.taken(row, WorkerIdentity("me", "f00d")))
    table._batches = True
    running: list[Callable[[], object]] = [
        table.scan,
        lambda: table.read(["shardId-0"]),
        lambda: table.create(row),
        lambda: table.want(row, "peer"),
        lambda: table.delete(row),
        lambda: table.write([change]),
        lambda: table.write([change, change]),
        lambda: table.rewrite([change]),
        lambda: table.remove(row),
    ]
    return [table.check, table.exists], running


PORTS = [
    pytest.param("kinesis", stream_calls, StreamUnavailable, id="stream"),
    pytest.param("dynamodb", table_calls, LeaseTableUnavailable, id="lease table"),
]


def assert_ours(call: Callable[[], object], kinds: tuple[type[ConsumerError], ...], says: str) -> None:
    with pytest.raises(kinds) as caught:
        call()
    text = str(caught.value)
    assert says in text
    assert SECRET not in text
    assert "\n" not in text
    assert caught.value.code or isinstance(caught.value, LeaseTableUnavailable)  # the metrics of reads use the code


# Exceptions and responses, and the expected text. The text of proxy pages is not shown, but the message of AWS is.
MET: dict[str, tuple[Callable[..., Any], str]] = {
    **{name: (fails(error), says) for name, (error, says) in RAISED.items()},
    **{name: (answers(status, body), says) for name, (status, body, says) in ANSWERED.items()},
}


@pytest.mark.parametrize(("name", "calls", "unavailable"), PORTS)
@pytest.mark.parametrize("met", MET)
def test_every_exception_and_response_becomes_one_of_our_errors(
    request: pytest.FixtureRequest, meet: Any, name: str, calls: Any, unavailable: Any, met: str
) -> None:
    """A running worker retries it. At the start it may be a configuration error. Neither shows a value."""
    client = request.getfixturevalue(name)
    meet(client, MET[met][0])
    start, running = calls(client)
    for call in start:
        assert_ours(call, (unavailable, ConfigurationError), MET[met][1])
    for call in running:
        assert_ours(call, (unavailable,), MET[met][1])


@pytest.mark.parametrize(("name", "calls", "unavailable"), PORTS)
@pytest.mark.parametrize("code", sorted(THROTTLED | TRANSIENT))
def test_a_transient_code_is_retried_at_the_start(
    request: pytest.FixtureRequest, meet: Any, name: str, calls: Any, unavailable: Any, code: str
) -> None:
    """This covers every code that botocore retries, and those of the services."""
    client = request.getfixturevalue(name)
    meet(client, lambda **_: answer(400, json.dumps({"__type": code}).encode()))
    start, running = calls(client)
    for call in (*start, *running):
        if (name, code) == ("dynamodb", "ResourceInUseException"):
            continue  # has another meaning for the lease table
        assert_ours(call, (unavailable, Throttled), code)


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("ResourceNotFoundException", ShardGone),
        ("ProvisionedThroughputExceededException", Throttled),
    ],
)
def test_a_read_raises_a_specific_error_for_some_codes(
    kinesis: Any, meet: Any, code: str, meaning: type[Exception]
) -> None:
    """The shard reader handles each of them."""
    meet(kinesis, lambda **_: answer(400, json.dumps({"__type": code}).encode()))
    with pytest.raises(meaning):
        KinesisStream("calls", kinesis).fetch("iterator", 20)


def test_a_denial_is_a_configuration_error_until_the_first_record_was_read(kinesis: Any, meet: Any) -> None:
    """Later the permission may be granted again."""
    stream = KinesisStream("calls", kinesis)
    denied = json.dumps({"__type": "KMSAccessDeniedException", "message": "the key's policy"}).encode()
    answers = iter([answer(400, denied), answer(200, b'{"Records": []}'), answer(400, denied)])
    meet(kinesis, lambda **_: next(answers))
    with pytest.raises(ConfigurationError, match="KMSAccessDeniedException: the key's policy"):
        stream.fetch("iterator", 20)
    stream.fetch("iterator", 20)
    with pytest.raises(Retryable, match="KMSAccessDeniedException"):
        stream.fetch("iterator", 20)


def test_the_requested_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an ARN it is a host of the account, not the host of the client."""
    client = kinesis_client("arn:aws:kinesis:eu-west-1:111122223333:stream/calls", None, None, 1)
    asked: list[str] = []

    def denied(request: Any, **_: object) -> AWSResponse:
        asked.append(request.url)
        return answer(400, b'{"__type": "AccessDeniedException", "message": "no"}')

    intercepted(client, denied)
    stream = KinesisStream("arn:aws:kinesis:eu-west-1:111122223333:stream/calls", client)
    with pytest.raises(ConfigurationError) as caught:
        stream.summary()
    assert "111122223333" in asked[0]
    assert f"is denied at {asked[0].rstrip('/')}: AccessDeniedException: no" in str(caught.value)
    client.close()
