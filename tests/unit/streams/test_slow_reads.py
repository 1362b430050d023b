"""Read over a real connection that is slow, cut off, or denied."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from consumer.errors import ConfigurationError, IncompleteResponse, ReadTimedOut, StreamUnavailable
from consumer.streams.kinesis import KinesisStream, kinesis_client

IMPATIENT = 0.3  # seconds to wait for a response
EMPTY = json.dumps({"Records": [], "NextShardIterator": "next", "MillisBehindLatest": 0}).encode()
DENIED = json.dumps({"__type": "AccessDeniedException", "message": "no policy allows it"}).encode()


def response(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return a response that announces `length` bytes."""
    announced = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


class Server:
    """A server that sends the next response after `late` seconds and closes the connection."""

    def __init__(self) -> None:
        self.next: list[bytes] = []
        self.late = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._over = threading.Event()
        self._serving = threading.Thread(target=self._serve)
        self._serving.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    self._over.wait(self.late)
                    connection.sendall(self.next.pop(0))

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._serving.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def stream(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[KinesisStream]:
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
def test_a_truncated_response_reduces_the_read_size(server: Server, stream: KinesisStream, cut_off: bytes) -> None:
    """It may be too large for the network."""
    server.next = [cut_off, response(EMPTY)]
    with pytest.raises((ReadTimedOut, IncompleteResponse)):  # both reduce the size of the next read
        stream.fetch("iterator", 20)
    assert stream.fetch("iterator", 5).next_iterator == "next"


def test_a_late_response_times_out_unless_the_read_is_patient(server: Server, stream: KinesisStream) -> None:
    """A patient read waits for a slow server."""
    server.next, server.late = [response(EMPTY)] * 2, 2 * IMPATIENT
    with pytest.raises(ReadTimedOut):
        stream.fetch("iterator", 20)
    assert stream.fetch("iterator", 5, patient=True).next_iterator == "next"


def test_a_denied_first_read_is_a_configuration_error_and_a_later_one_is_retried(
    server: Server, stream: KinesisStream
) -> None:
    """A permission that was revoked may be granted again."""
    denial = response(DENIED, "400 Bad Request")
    server.next = [denial, response(EMPTY), denial]
    with pytest.raises(ConfigurationError, match="no policy allows it"):
        stream.fetch("iterator", 20)
    stream.fetch("iterator", 20)
    with pytest.raises(StreamUnavailable, match="no policy allows it"):
        stream.fetch("iterator", 20)
