"""Run processes and measure them by the kernel's accounting."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
}
SHARDS = 4


class Cost(NamedTuple):
    """The cost of one process: CPU and wall time in seconds, peak memory in MB. `noted`: a value that it printed."""

    cpu: float
    wall: float
    memory: float
    noted: float = 0.0


@contextmanager
def stub(*options: object) -> Iterator[str]:
    """Run the stub in a separate process and yield its URL."""
    command = [sys.executable, "-m", "benchmarks.stub", "--shards", str(SHARDS), *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


def worker(stream: str, url: str, directory: Path, *options: str) -> list[str]:
    """Return the command line of the worker, as a user types it."""
    places = ["--dead-letters", f"jsonl:{directory}/dead-letters"]
    command = [str(Path(sys.executable).with_name("call-consumer")), "run", stream, "--endpoint-url", url, *places]
    sink = [] if "--sink" in options else ["--sink", f"jsonl:{directory}/rows"]
    return [*command, "--leases", f"sqlite:{directory}/leases.db", *sink, *options]


def start(command: Sequence[str], directory: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a command. Its stderr goes to `directory`/stderr; `environment` is added to the environment."""
    added = options.pop("environment", {})
    with open(directory / "stderr", "wb") as stderr:
        return subprocess.Popen(command, env={**os.environ, **ENVIRONMENT, **added}, stderr=stderr, **options)


def cost_of(process: "subprocess.Popen[bytes]", began: float, directory: Path) -> Cost:
    """Wait for the end of a process and return its cost.

    Raises:
        RuntimeError: its exit code is not 0. The message ends with its stderr.
    """
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {(directory / 'stderr').read_text()}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began, kilobytes / 1024)


def run(command: Sequence[str], directory: Path, stop_after: float | None = None, **options: Any) -> Cost:
    """Run a command to its end, or stop it after some seconds.

    Raises:
        RuntimeError: its exit code is not 0.
    """
    began = time.monotonic()
    process = start(command, directory, **options)
    if stop_after is not None:
        time.sleep(stop_after)
        process.send_signal(signal.SIGTERM)
    return cost_of(process, began, directory)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a running process has used. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> float:
    """Return the MB of a running process that are in memory. Linux only."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def handles_of(pid: int) -> int:
    """Return the number of open files and sockets of a running process. Linux only."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
