"""The other commands, as a user types them."""

import json
import subprocess
import sys
from pathlib import Path

from schemas import examples
from tests.integration.workers import environment


def call(*arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        input=given,
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )


def test_the_demo_shows_the_whole_job_and_counts_right(tmp_path: Path) -> None:
    """Its own expectations are checked by itself; it says so."""
    done = call("demo", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert b"All there" in done.stdout
    assert b"106 rows and 3 dead letters" in done.stdout


def test_decode_prints_rows_and_ends_with_1_when_an_event_is_refused() -> None:
    """JSON lines in, rows and reasons out."""
    good = json.dumps(json.loads(examples.load("live-like-call-created"))).encode()
    done = call("decode", given=good + b"\n" + b"{}\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert lines[0]["resource_status"] == "queued"
    assert lines[1]["refused"] == "not-cloudevent"


def test_doctor_says_what_is_wrong_and_ends_with_2() -> None:
    """An endpoint where nobody listens is found out."""
    done = call("doctor", "some-stream", "--endpoint-url", "http://127.0.0.1:9", "--leases", "memory:")
    assert done.returncode == 2
    assert b"FAILED  stream" in done.stdout
    assert b"ok      leases" in done.stdout
    assert b"Traceback" not in done.stderr
