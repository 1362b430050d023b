"""An HTTP server on a thread of this process: subclass both classes, and respond in `reply`."""

import http.server
import threading
from collections.abc import Iterable
from typing import Any


class LoopbackServer(http.server.ThreadingHTTPServer):
    """Listen on loopback until `stop`. Port 0 means any free port."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: "type[QuietHandler]", port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect, such as killed ones."""

    def stop(self) -> None:
        """Accept no further connection."""
        self.shutdown()
        self.server_close()


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """Handle one request, and log nothing."""

    def reply(self) -> None:
        """Call `respond`, or end the connection."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.reply()

    def do_HEAD(self) -> None:
        self.reply()

    def do_PUT(self) -> None:
        self.reply()

    def do_POST(self) -> None:
        self.reply()

    def body(self) -> bytes:
        """Return the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def respond(
        self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), announced: int | None = None
    ) -> None:
        """Send a response whose Content-Length is `announced`, or else correct."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
