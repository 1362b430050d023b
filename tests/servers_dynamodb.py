"""Starts what speaks DynamoDB as processes of their own on loopback, and stops them. Each yields its URL.

What they differ in is what the lease table has to bear: DynamoDB Local is Amazon's own engine, moto answers most of it,
dynalite has no item in the answer to a failed condition, as older stores had none.
"""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.integration.servers import free_port
from tests.needs import INSTALLED, install, need

ROOT = Path(__file__).parents[1]
INSTALLERS = ROOT / ".ci" / "emulators"
PATIENCE = 60.0  # seconds for a server to start on a busy machine


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """DynamoDB Local, the engine that Amazon publishes, in memory."""
    need(all(shutil.which(program) for program in ("java", "javac", "mvn")), "a JDK with Maven")
    install(INSTALLERS / "dynamodb-local" / "install.sh")
    there = INSTALLED / "dynamodb-local"
    frugal = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.library.path={there / 'lib'}"]
    main = ["-cp", f"{there / 'classes'}:{there / 'lib'}/*", "LoopbackDynamoDb"]
    port = free_port()
    with _running(["java", *frugal, *main, "-inMemory", "-disableTelemetry", "-port", str(port)], port) as url:
        yield url


@contextmanager
def dynalite() -> Iterator[str]:
    """A store that ignores ReturnValuesOnConditionCheckFailure."""
    need(shutil.which("npm") is not None, "Node.js with npm")
    install(INSTALLERS / "dynalite" / "install.sh")
    port = free_port()
    script = INSTALLED / "dynalite" / "node_modules" / "dynalite" / "cli.js"
    quick = ["--createTableMs", "20", "--deleteTableMs", "20"]
    with _running(["node", str(script), "--host", "127.0.0.1", "--port", str(port), *quick], port) as url:
        yield url


@contextmanager
def moto() -> Iterator[str]:
    """moto's server, as the demo has it."""
    port = free_port()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
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
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        need(server.poll() is None, "a server that starts")
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.05)
    need(False, f"an answer from {url}")
