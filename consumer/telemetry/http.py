"""A small web server for probes and metrics: a few fixed pages, GET only, nothing that a visitor can change.

It runs on one thread of the scheduler, in an event loop of its own, so a slow visitor costs a few kilobytes and never a
thread, holds up no other, and is cut off after `DEADLINE`. Nobody waits for it when the worker stops.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from consumer.errors import ConfigurationError

# Seconds a visitor has to send the request and take the answer.
DEADLINE = 5.0
# Visitors at once; one more, and the oldest is cut off: a probe always gets through.
MOST_VISITORS = 64
LONGEST_HEAD = 8 * 1024


class Response(NamedTuple):
    """What a page says."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Response]


def listen(address: tuple[str, int]) -> socket.socket:
    """Take an address. No host: all interfaces, IPv6 too where there is one. Port 0: any that is free.

    Raises:
        ConfigurationError: it is not ours to take, or somebody else has it.
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
    """Serves pages until it is closed; one step is all of it."""

    def __init__(self, listening: socket.socket, pages: Mapping[str, Page], log: Any) -> None:
        self._listening, self._pages, self._log = listening, pages, log
        self._visitors: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}  # the oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = asyncio.Event()

    def step(self, now: float) -> None:
        """Serve."""
        asyncio.run(self._serve())

    def close(self) -> None:
        """Stop serving; does not wait."""
        if self._loop is None:
            self._closed.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closed.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._arrive, sock=self._listening, limit=LONGEST_HEAD)
        host, port = self._listening.getsockname()[:2]
        self._log.info("http.listening", host=host, port=port)
        await self._closed.wait()
        self._loop.remove_reader(self._listening)
        await asyncio.sleep(0)  # asyncio forgets to close whoever comes in while a server closes: first the door
        server.close()
        for visitor in self._visitors:
            visitor.transport.abort()

    def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed.is_set():  # was at the door
            writer.transport.abort()
            return
        if len(self._visitors) >= MOST_VISITORS:
            next(iter(self._visitors)).transport.abort()
        self._visitors[writer] = asyncio.create_task(self._visit(reader, writer))

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                writer.write(self._response(await _head(reader)))
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or too slow
        finally:
            del self._visitors[writer]
            writer.transport.abort()

    def _response(self, head: bytes | None) -> bytes:
        method, path = _request(head)
        answer = self._answer(method, path)
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Allow: GET, HEAD"] if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else answer.body)

    def _answer(self, method: str, path: str) -> Response:
        if not method:
            return _say(HTTPStatus.BAD_REQUEST)
        if path not in self._pages:
            return _say(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _say(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return self._pages[path]()
        except Exception as error:  # a page that cannot be made is no reason to stop reading the stream
            self._log.error("http.failed", page=path, error=type(error).__name__)
            return _say(HTTPStatus.INTERNAL_SERVER_ERROR)


def _say(status: HTTPStatus) -> Response:
    return Response(status, f"{status.phrase}\n".encode())


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None


def _request(head: bytes | None) -> tuple[str, str]:
    """Method and path; two empty strings for what is no request."""
    words = (head or b"").partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1].partition("?")[0]
