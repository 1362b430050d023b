"""Starts the servers of the tests as processes of their own on loopback, and stops them."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.needs import install, need

ROOT = Path(__file__).parents[2]
EMULATORS = ROOT / ".ci" / "emulators"


def free_port() -> int:
    """A port on loopback that nobody uses now, nor gets before a server has started on it.

    Clients are given ports from 32768 on, and tests that run side by side draw different ones.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def kinesis_local() -> Iterator[str]:
    """kinesis-local, the engine inside LocalStack: real shard ends, 56-digit sequence numbers. Yields its URL."""
    need(shutil.which("npm") is not None, "Node.js with npm")
    install(EMULATORS / "install.sh")
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
    url = f"http://127.0.0.1:{port}"
    with _running(command, environment, lambda: _answers(f"{url}/") is not None):
        yield url


@contextmanager
def localstack() -> Iterator[str]:
    """LocalStack 4.14.0 without docker, with the ready hook of deploy/localstack. Yields its URL."""
    need((ROOT / ".emulators" / "localstack" / ".done").exists(), "LocalStack (.ci/emulators/localstack/install.sh)")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(EMULATORS / "localstack" / "start.sh"), str(port), str(ROOT / "deploy" / "localstack" / "ready.d")]
    access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}

    def hook_is_done() -> bool:
        answer = json.loads(_answers(f"{url}/_localstack/init/ready") or b"{}")
        states = {script["name"]: script["state"] for script in answer.get("scripts", ())}
        need(states.get("make-stream.sh") != "ERROR", "a ready hook that works")
        return states.get("make-stream.sh") == "SUCCESSFUL"

    with _running(command, {**os.environ, **access}, hook_is_done, patience=120):
        yield url


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], ready: Callable[[], bool], patience: float = 30
) -> Iterator[None]:
    """A server and all that it starts, from when it is ready until it is stopped: its group is its own."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True) as server:
        try:
            give_up = time.monotonic() + patience
            while not ready():
                need(server.poll() is None, "a server that starts")
                need(time.monotonic() < give_up, f"an answer from {command[0]}")
                time.sleep(0.1)
            yield
        finally:
            _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(5)


def _answers(url: str) -> bytes | None:
    """The body of whatever a server says, if it says anything."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        error.close()
        return b""
    except OSError:
        return None
