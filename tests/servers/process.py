"""Start a server as a process of its own, wait until it responds, and stop it with everything that it started."""

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
    """Return a port on loopback that is free, and stays free until a server has started on it.

    Clients are given ports from 32768 on, and tests that run side by side draw different ones.
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
    """Run a server and yield its URL as soon as it is `ready`: without a test of its own, as soon as it responds."""
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
