"""Starts the servers of the tests as processes of their own on loopback, and stops them."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import need

ROOT = Path(__file__).parents[2]
EMULATORS = ROOT / ".ci" / "emulators"


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def kinesis_local() -> Iterator[str]:
    """kinesis-local, the engine inside LocalStack: real shard ends, 56-digit sequence numbers. Yields its URL."""
    need(shutil.which("npm") is not None, "Node.js with npm")
    subprocess.run([str(EMULATORS / "install.sh")], check=True, timeout=120)
    package = ROOT / ".emulators" / "kinesis" / "node_modules" / "kinesis-local"
    port = free_port()
    environment = {
        **os.environ,
        "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "LOG_LEVEL": "ERROR",
        **{
            f"{action}_DURATION": "100ms"
            for action in ("CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "DELETE_STREAM")
        },
    }
    command = ["node", "-r", str(EMULATORS / "loopback.js"), str(package / "main.js")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        need(server.poll() is None, "a server that starts")
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.1)
    need(False, f"an answer from {url}")
