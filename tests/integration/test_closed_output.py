"""End each command quietly with exit code 0 when a reader such as `head -1` closes standard output."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas import examples
from tests.integration.workers import STREAM, environment

COMMAND = [sys.executable, "-m", "consumer"]


def closed(directory: Path, *arguments: str, given: bytes = b"") -> tuple[int, bytes]:
    """Run a command whose standard output has no reader. Return its exit code and its stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=directory,
            input=given,
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["decode"],
        ["doctor", "calls", "--endpoint-url", "http://127.0.0.1:9", "--leases", "memory:"],
        ["demo"],
        ["demo", "--keep"],
        ["kcl-daemon", "calls", "--sink", "sqlite:rows.db", "--properties"],
    ],
    ids=" ".join,
)
def test_a_command_without_a_reader_ends_quietly_with_0(tmp_path: Path, arguments: list[str]) -> None:
    """The reader did not want the rest."""
    assert closed(tmp_path, *arguments, given=examples.load("live-like-call-created")) == (0, b"")


def test_publish_without_a_reader_ends_with_0(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """The events are already on the stream."""
    assert closed(tmp_path, "publish", STREAM, "--endpoint-url", endpoint) == (0, b"")


def test_a_demo_whose_reader_ends_after_a_line_ends_its_worker(tmp_path: Path) -> None:
    """`demo | head -1` does this."""
    command = [*COMMAND, "demo", "--directory", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert demo.stdout.readline()
        demo.stdout.close()
        assert demo.wait(60) == 0
        assert demo.stderr.read() == b""


def test_help_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """A full file is not a closed reader."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 2
    assert b"standard output: No space left on device" in done.stderr
