"""Read over a real connection that is slow, cut off, or denied."""

import json
from collections.abc import Iterator

import pytest

from consumer.errors import ConfigurationError, IncompleteResponse, ReadTimedOut, StreamUnavailable
from consumer.records import TRIM_HORIZON
from consumer.streams.kinesis import KinesisStream, kinesis_client
from tests.servers.connections import SlowServer

IMPATIENT = 0.3  # seconds to wait for a response
EMPTY = json.dumps({"Records": [], "NextShardIterator": "next", "MillisBehindLatest": 0}).encode()
NO_ITERATOR = json.dumps({"ShardIterator": ""}).encode()
DENIED = json.dumps({"__type": "AccessDeniedException", "message": "no policy allows it"}).encode()


def response(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return a response that announces `length` bytes."""
    announced = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def server() -> Iterator[SlowServer]:
    made = SlowServer()
    yield made
    made.close()


@pytest.fixture
def stream(server: SlowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[KinesisStream]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    usual = kinesis_client("calls", "us-east-1", server.url, 1, read_timeout=IMPATIENT)
    made = KinesisStream("calls", usual, lambda: kinesis_client("calls", "us-east-1", server.url, 1, read_timeout=20))
    yield made
    made.close()


@pytest.mark.parametrize(
    "cut_off",
    [response(EMPTY[:20], length=len(EMPTY)), response(b"<html>", "504 Gateway Timeout"), b""],
    ids=["half a body", "a proxy that gave up", "no response"],
)
def test_a_truncated_response_reduces_the_read_size(server: SlowServer, stream: KinesisStream, cut_off: bytes) -> None:
    """It may be too large for the network."""
    server.next = [cut_off, response(EMPTY)]
    with pytest.raises((ReadTimedOut, IncompleteResponse)):  # both reduce the size of the next read
        stream.fetch("iterator", 20)
    assert stream.fetch("iterator", 5).next_iterator == "next"


def test_an_empty_iterator_is_reported_with_the_stream_and_the_host(server: SlowServer, stream: KinesisStream) -> None:
    """An operator learns which service responds so."""
    server.next = [response(NO_ITERATOR)]
    with pytest.raises(IncompleteResponse) as refused:
        stream.open("shardId-000000000000", TRIM_HORIZON)
    assert str(refused.value) == f"stream calls: GetShardIterator: the iterator is empty at {server.url}"


def test_a_late_response_times_out_unless_the_read_is_patient(server: SlowServer, stream: KinesisStream) -> None:
    """A patient read waits for a slow server."""
    server.next, server.late = [response(EMPTY)] * 2, 2 * IMPATIENT
    with pytest.raises(ReadTimedOut):
        stream.fetch("iterator", 20)
    assert stream.fetch("iterator", 5, patient=True).next_iterator == "next"


def test_a_denied_first_read_is_a_configuration_error_and_a_later_one_is_retried(
    server: SlowServer, stream: KinesisStream
) -> None:
    """A permission that was revoked may be granted again."""
    denial = response(DENIED, "400 Bad Request")
    server.next = [denial, response(EMPTY), denial]
    with pytest.raises(ConfigurationError, match="no policy allows it"):
        stream.fetch("iterator", 20)
    stream.fetch("iterator", 20)
    with pytest.raises(StreamUnavailable, match="no policy allows it"):
        stream.fetch("iterator", 20)
