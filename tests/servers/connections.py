"""Servers of single connections, for responses that no HTTP server sends."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[[socket.socket], None]
Serve = Callable[[Behaviour], int]


@contextmanager
def serving() -> Iterator[Serve]:
    """Yield a function that serves one connection with a function, and returns the port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(behave: Behaviour) -> int:
        listeners.append(socket.create_server(("127.0.0.1", 0)))
        threads.append(threading.Thread(target=_serve_one, args=(listeners[-1], behave)))
        threads[-1].start()
        return int(listeners[-1].getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(20)


def _serve_one(listener: socket.socket, behave: Behaviour) -> None:
    with suppress(OSError):
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(10)
            behave(accepted)


class SlowServer:
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
