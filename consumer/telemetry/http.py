"""Serve probes and metrics over HTTP: a few fixed pages, GET and HEAD only.

The server runs an event loop on one thread of the scheduler. A slow client costs a few kilobytes, delays no other
client, and is disconnected after `DEADLINE`. The worker stops without waiting for the server.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from consumer.errors import ConfigurationError

# Seconds in which a client must send its request and receive the response.
DEADLINE = 5.0
# Further connections close the oldest one, so a new probe always gets a response.
MAX_CONNECTIONS = 64
MAX_HEAD = 8 * 1024  # bytes of a request line with its headers


class Response(NamedTuple):
    """The response of a page."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Response]


def listen(address: tuple[str, int]) -> socket.socket:
    """Listen on an address. An empty host means all interfaces, with IPv6 where available; port 0 means any free port.

    Raises:
        ConfigurationError: the address is not available.
    """
    host, port = address
    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    try:
        return socket.create_server(address, family=family, dualstack_ipv6=both)
    except OSError as error:
        problem = (error.strerror or type(error).__name__).partition(" (")[0].lower()
        raise ConfigurationError(f"--http {host}:{port}: {problem}; choose another address or port") from None


class HttpServer:
    """A task that serves pages in a single step, until `close` is called."""

    def __init__(self, listening: socket.socket, pages: Mapping[str, Page], log: Any) -> None:
        self._listening, self._pages, self._log = listening, pages, log
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}  # oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = asyncio.Event()

    def step(self, now: float) -> None:
        """Serve until `close` is called."""
        asyncio.run(self._serve())

    def close(self) -> None:
        """Stop serving. Do not wait for open connections."""
        if self._loop is None:
            self._closed.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closed.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, sock=self._listening, limit=MAX_HEAD)
        host, port = self._listening.getsockname()[:2]
        self._log.info("http.listening", host=host, port=port)
        await self._closed.wait()
        self._loop.remove_reader(self._listening)
        await asyncio.sleep(0)  # stop accepting first: asyncio leaks connections accepted during close
        server.close()
        for client in self._clients:
            client.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed.is_set():  # accepted just before the server closed
            writer.transport.abort()
            return
        if len(self._clients) >= MAX_CONNECTIONS:
            next(iter(self._clients)).transport.abort()
        self._clients[writer] = asyncio.create_task(self._serve_client(reader, writer))

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                writer.write(self._response(await _head(reader)))
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # the client is gone or too slow
        finally:
            del self._clients[writer]
            writer.transport.abort()

    def _response(self, head: bytes | None) -> bytes:
        method, path = _request(head)
        page = self._page(method, path)
        lines = [
            f"HTTP/1.1 {page.status.value} {page.status.phrase}",
            f"Content-Type: {page.content_type}",
            f"Content-Length: {len(page.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Allow: GET, HEAD"] if page.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else page.body)

    def _page(self, method: str, path: str) -> Response:
        if not method:
            return _status_page(HTTPStatus.BAD_REQUEST)
        if path not in self._pages:
            return _status_page(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _status_page(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return self._pages[path]()
        except Exception as error:  # a broken page must not stop the worker
            self._log.error("http.failed", page=path, error=type(error).__name__)
            return _status_page(HTTPStatus.INTERNAL_SERVER_ERROR)


def _status_page(status: HTTPStatus) -> Response:
    return Response(status, f"{status.phrase}\n".encode())


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None


def _request(head: bytes | None) -> tuple[str, str]:
    """Return method and path, or two empty strings if the request is invalid."""
    words = (head or b"").partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1].partition("?")[0]
