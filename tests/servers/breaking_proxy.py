"""A TCP proxy that breaks the connection at a chosen request, before the server gets it or after it has responded."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class BreakingProxy:
    """Pass everything on to a port of loopback. While `breaks_at` is set, the request that contains it breaks the line.

    The breaks alternate: the first is before the server gets the request, the second after it has responded.
    """

    def __init__(self, target: int) -> None:
        self._target, self._listener = target, socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._breaks_at: bytes | None = None
        self._number = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def breaking(self, at: bytes) -> Iterator[None]:
        """Break each connection at a request that contains these bytes."""
        self._breaks_at, self._number = at, 0
        yield
        self._breaks_at = None

    def close(self) -> None:
        """Accept no further connection."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server, ready = socket.create_connection(("127.0.0.1", self._target)), selectors.DefaultSelector()
        with client, server, ready, suppress(OSError):
            for one in (client, server):
                ready.register(one, selectors.EVENT_READ)
            while all(self._pass_on(key.fileobj is client, client, server) for key, _ in ready.select()):
                pass

    def _pass_on(self, is_request: bool, client: socket.socket, server: socket.socket) -> bool:
        """Pass on what has arrived. Return False if the connection has ended or shall break."""
        data = (client if is_request else server).recv(65536)
        if is_request and self._breaks_at is not None and self._breaks_at in data:
            self._number += 1
            if self._number % 2 == 0:
                server.sendall(data)
                server.recv(65536)
            return False
        (server if is_request else client).sendall(data)
        return bool(data)
