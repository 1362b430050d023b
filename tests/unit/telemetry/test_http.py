"""Serve probes and metrics over real sockets on loopback."""

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from consumer.errors import ConfigurationError
from consumer.settings import load
from consumer.telemetry import http, probe
from consumer.telemetry.exposition import Exposition
from consumer.telemetry.http import HttpServer, Response, listen
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.pages import pages
from tests.simulation.world import Silent


class Site:
    """A server in a thread, and a client for it."""

    def __init__(self) -> None:
        self.not_live, self.not_ready = "", ""
        metrics = Metrics()
        metrics.shard_added("shard-1")
        shown = Exposition(metrics, lambda: 0, "1.2.3")
        self._listening = listen(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.pages = dict(pages(lambda: self.not_live, lambda: self.not_ready, shown))
        self.server = HttpServer(self._listening, self.pages, Silent())
        self.thread = threading.Thread(target=self.server.step, args=(0.0,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def send(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(data)
            answer = b""
            with suppress(ConnectionResetError):  # the client sent more than the server read
                while part := client.recv(65536):
                    answer += part
            return answer


def cut_off(client: socket.socket) -> bool:
    """Wait for the end of the connection. Return whether it ended without a response."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.close()
    site.thread.join(10)
    assert not site.thread.is_alive()


def test_probes_return_200_or_503_with_the_problem(site: Site) -> None:
    """Liveness and readiness are independent."""
    assert site.ask("/livez") == (200, "live\n")
    assert site.ask("/readyz") == (200, "ready\n")
    site.not_ready = "draining"
    assert site.ask("/readyz") == (503, "draining\n")
    assert site.ask("/livez") == (200, "live\n")
    site.not_live = "renewals"
    assert site.ask("/livez?verbose") == (503, "stalled: renewals\n")


def test_metrics_are_in_the_prometheus_text_format(site: Site) -> None:
    """The response has the content type that Prometheus requires."""
    with urllib.request.urlopen(f"{site.url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    assert 'call_consumer_lease_held{shard="shard-1"} 1.0' in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/livez/", "GET", 404),
        ("/x", "POST", 404),
        ("/livez", "POST", 405),
        ("/readyz", "PUT", 405),
    ],
)
def test_other_paths_and_methods_are_rejected(site: Site, path: str, method: str, status: int) -> None:
    """No request can change anything."""
    assert site.ask(path, method)[0] == status


def test_head_returns_no_body(site: Site) -> None:
    """Some load balancers use HEAD."""
    assert site.ask("/livez", "HEAD") == (200, "")


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET /livez SPDY/9\r\n\r\n", b"GET /" + b"x" * 70_000])
def test_an_invalid_request_returns_400(site: Site, request_: bytes) -> None:
    """A long one takes only a few kilobytes of memory."""
    answer = site.send(request_)
    # Unread bytes cause a reset, which may arrive before the response.
    assert answer.startswith(b"HTTP/1.1 400 ") or (answer == b"" and len(request_) > 65536)
    assert site.ask("/livez")[0] == 200


def test_a_page_that_fails_returns_500_and_the_server_continues(site: Site) -> None:
    """The response does not show the text of the error."""

    def fails() -> Response:
        raise ValueError("+15550100000")

    site.pages["/metrics"] = fails
    assert site.ask("/metrics") == (500, "Internal Server Error\n")
    assert site.ask("/livez")[0] == 200


def test_slow_clients_do_not_keep_probes_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many connections, the server closes the oldest and responds to new ones."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 8)
    clients = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(40)]
    for client in clients:
        client.sendall(b"GET /li")
    assert site.ask("/livez") == (200, "live\n")
    assert cut_off(clients[0])
    for client in clients:
        client.close()


def test_a_client_that_sends_endlessly_is_disconnected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces do not extend the deadline."""
    monkeypatch.setattr(http, "DEADLINE", 0.05)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\n")
        assert cut_off(client)


def test_closing_does_not_wait_for_clients(site: Site) -> None:
    """An open connection must not delay the end of the worker."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.sendall(b"GET /livez HT")
        began = time.monotonic()
        site.server.close()
        site.thread.join(4)
        assert not site.thread.is_alive()
        assert time.monotonic() - began < http.DEADLINE / 2


def test_a_server_closed_before_it_starts_does_not_start() -> None:
    """Its thread may start late."""
    server = HttpServer(listen(("127.0.0.1", 0)), {}, Silent())
    server.close()
    server.step(0.0)


def test_a_port_in_use_is_a_configuration_error(site: Site) -> None:
    """The line names the address, the problem and what to do."""
    with pytest.raises(ConfigurationError, match=rf"--http 127\.0\.0\.1:{site.port}: address already in use; choose"):
        listen(("127.0.0.1", site.port))
    with pytest.raises(ConfigurationError, match=r"--http 192\.0\.2\.1:8080: cannot assign"):
        listen(("192.0.2.1", 8080))


@pytest.mark.parametrize("text", ["8080", "127.0.0.1", "127.0.0.1:x", ":70000", "::1:8080", "localhost:-1", ""])
def test_an_address_is_checked_before_the_worker_starts(text: str) -> None:
    """An empty value in the environment means no server."""
    if text:
        with pytest.raises(ConfigurationError, match=r"--http '.*': say ADDRESS:PORT"):
            load({"http": text}, environ={})
    else:
        assert load({}, environ={"CALL_CONSUMER_HTTP": text}).http_address is None


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:8080", "127.0.0.1", 8080), (":0", "", 0), ("[::1]:80", "::1", 80)]
)
def test_addresses_are_parsed_as_typed(text: str, host: str, port: int) -> None:
    """An IPv6 address is in brackets, as in a URL."""
    settings = load({"http": text}, environ={})
    assert settings.http == text
    assert settings.http_address == (host, port)


def test_the_probe_command_requests_a_page(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 0 if the page is healthy, else with 1 and the problem."""
    assert probe.main([f"{site.url}/livez"]) == 0
    site.not_live = "coordinator"
    assert probe.main([f"{site.url}/livez"]) == 1
    assert "503" in capsys.readouterr().err
    with listen(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert probe.main([f"http://127.0.0.1:{port}/livez"]) == 1
