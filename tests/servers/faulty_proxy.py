"""Proxy requests between a worker and an AWS service, and inject faults of networks and services.

Use one proxy per worker and service. A fault can hit one worker (a partition) or all of them (an outage).
"""

import http.client
import json
import random
import socket
import struct
import threading
import urllib.parse
from contextlib import suppress
from enum import StrEnum
from typing import cast

from tests.servers.loopback import LoopbackServer, QuietHandler

UPSTREAM_TIMEOUT = 30.0
REFUSAL = json.dumps(
    {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow down"}
).encode()
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Fault(StrEnum):
    """What happens to a request."""

    REFUSE = "refuse"  # the port is closed, and open connections are cut
    HANG = "hang"  # accepted, but neither forwarded nor answered until the fault ends
    LATE = "late"  # the same, but forwarded when the fault ends, long after the client has given up
    SLOW = "slow"  # forwarded after a pause that may be longer than the client waits
    LOST = "lost"  # carried out, and the response is lost
    THROTTLE = "throttle"  # rejected with a response that requests a lower rate


class FaultyProxy:
    """Forward HTTP requests to `upstream`. `suffer` starts a fault and `heal` ends it. Listen on loopback."""

    def __init__(self, upstream: str, rng: random.Random) -> None:
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.rng = rng
        self.fault: Fault | None = None
        self.share = 1.0
        self.healed = threading.Event()
        self.hurt = 0  # requests that a fault has hit
        self._connections: set[socket.socket] = set()
        self._open(0)
        self.port: int = self._door.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _open(self, port: int) -> None:
        self._door = _Door(port, self)

    def suffer(self, fault: Fault, share: float = 1.0) -> None:
        """Apply a fault to a `share` of the requests (REFUSE: to all)."""
        self.heal()
        self.healed.clear()
        self.fault, self.share = fault, share
        if fault is Fault.REFUSE:
            self._close()

    def heal(self) -> None:
        """Forward all requests again."""
        refused, self.fault = self.fault is Fault.REFUSE, None
        self.healed.set()
        if refused:
            self._open(self.port)

    def close(self) -> None:
        """Stop the proxy."""
        self.heal()
        self._close()

    def _close(self) -> None:
        self._door.stop()
        for connection in list(self._connections):
            cut(connection)

    def drawn(self) -> Fault | None:
        """Return the fault for the next request, if any."""
        fault = self.fault
        if fault is None or self.rng.random() >= self.share:
            return None
        self.hurt += 1
        return fault

    def connected(self, connection: socket.socket) -> None:
        self._connections.add(connection)

    def gone(self, connection: socket.socket) -> None:
        self._connections.discard(connection)


class _Door(LoopbackServer):
    allow_reuse_address = True

    def __init__(self, port: int, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        super().__init__(_Visit, port)


class _Visit(QuietHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.proxy = cast(_Door, self.server).proxy
        self.proxy.connected(self.connection)

    def finish(self) -> None:
        self.proxy.gone(self.connection)
        with suppress(OSError):
            super().finish()

    def send_response(self, code: int, message: str | None = None) -> None:
        """Send no Date and Server headers: those of the upstream server are forwarded."""
        self.send_response_only(code, message)

    def reply(self) -> None:
        body = self.body()
        fault = self.proxy.drawn()
        if fault is Fault.THROTTLE:
            self.respond(400, REFUSAL, [("Content-Type", "application/x-amz-json-1.0")])
            return
        if fault in (Fault.HANG, Fault.LATE):
            self.proxy.healed.wait()
        elif fault is Fault.SLOW:
            self.proxy.healed.wait(self.proxy.rng.uniform(0.05, 1.0))
        if fault is not Fault.HANG:
            status, headers, answer = self._forward(body)
        if fault in (Fault.HANG, Fault.LATE, Fault.LOST):
            self.close_connection = True
            cut(self.connection)
            return
        self.respond(status, answer, headers)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=UPSTREAM_TIMEOUT)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            return answer.status, kept, answer.read()
        finally:
            connection.close()


def cut(connection: socket.socket) -> None:
    """End a connection with a reset, as a crash does."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
