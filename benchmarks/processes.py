"""Run processes and measure them by the kernel's accounting."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
}
SHARDS = 4


class Cost(NamedTuple):
    """The cost of one process: CPU and wall time in seconds, peak memory in MB."""

    cpu: float
    wall: float
    memory: float


@contextmanager
def stub(*options: str) -> Iterator[str]:
    """Run the stub in a separate process and yield its URL."""
    command = [sys.executable, "-m", "benchmarks.stub", "--shards", str(SHARDS), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


def worker(stream: str, url: str, directory: Path, *options: str) -> list[str]:
    """Return the command line of the worker, as a user types it."""
    places = ["--sink", f"jsonl:{directory}/rows", "--dead-letters", f"jsonl:{directory}/dead-letters"]
    command = [str(Path(sys.executable).with_name("call-consumer")), "run", stream, "--endpoint-url", url, *places]
    return [*command, "--leases", f"sqlite:{directory}/leases.db", *options]


def plain_loop(stream: str, url: str, directory: Path) -> list[str]:
    """Return the command line of the plain loop."""
    return [sys.executable, "-m", "benchmarks.plain_loop", stream, "--endpoint-url", url, "--directory", str(directory)]


def run(command: Sequence[str], directory: Path, stop_after: float | None = None) -> Cost:
    """Run a command to its end, or stop it after some seconds. Its stderr goes to `directory`/stderr.

    Raises:
        RuntimeError: its exit code is not 0.
    """
    began = time.monotonic()
    with open(directory / "stderr", "wb") as stderr:
        process = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stderr=stderr)
        if stop_after is not None:
            time.sleep(stop_after)
            process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[:3]} ended with {process.returncode}: {(directory / 'stderr').read_text()}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began, kilobytes / 1024)
