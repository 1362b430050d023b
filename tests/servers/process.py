"""Start a server in a separate process, wait until it responds, and stop it with its children."""

import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tests.needs import need

PATIENCE = 60.0  # seconds for a server to start on a busy machine


def free_port() -> int:
    """Return a free port on loopback, which stays free until a server starts on it.

    Clients get ports from 32768 on, and parallel tests draw different ports.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str] | None = None,
    ready: Callable[[str], bool] | None = None,
    patience: float = PATIENCE,
) -> Iterator[str]:
    """Run a server and yield its URL when it is `ready`: by default, when it responds."""
    url, is_ready = f"http://127.0.0.1:{port}", ready or (lambda url: response_of(url) is not None)
    env, quiet = {**os.environ, **(environment or {})}, subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet, start_new_session=True) as server:
        try:
            give_up = time.monotonic() + patience
            while not is_ready(url):
                need(server.poll() is None, "a server that starts")
                need(time.monotonic() < give_up, f"a response from {command[0]}")
                time.sleep(0.05)
            yield url
        finally:
            _end(server)


def response_of(url: str) -> bytes | None:
    """Return the body of a response, empty for an error status, or None while the server does not respond."""
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        error.close()
        return b""
    except OSError:
        return None


def _end(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(5)
