"""Run the other commands as a user types them."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from schemas import examples
from tests.integration.workers import environment, wait_until


def call(
    *arguments: str, given: bytes = b"", exports: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        input=given,
        capture_output=True,
        env=environment() | dict(exports or {}),
        timeout=60,
        check=False,
    )


def test_the_demo_shows_the_whole_job_and_counts_right(tmp_path: Path) -> None:
    """The demo compares its counts with what it published."""
    done = call("demo", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert b"All there" in done.stdout
    assert b"106 rows and 3 dead letters" in done.stdout


def test_a_kept_demo_serves_a_second_shell_until_a_signal(tmp_path: Path) -> None:
    """The printed exports are enough for `publish`."""
    command = [sys.executable, "-m", "consumer", "demo", "--keep", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as demo:
        assert demo.stdout is not None
        exports = {}
        for line in demo.stdout:
            if line.startswith(b"  export "):
                name, _, value = line.split()[1].decode().partition("=")
                exports[name] = value
            if b"--leases memory:" in line:
                break
        done = call("publish", "twilio-events", "--count", "3", exports=exports)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    assert b"3 events in 3 records" in done.stdout


def test_decode_prints_rows_and_exits_with_1_when_an_event_is_rejected() -> None:
    """It reads JSON lines, and prints rows and reasons."""
    good = json.dumps(json.loads(examples.load("live-like-call-created"))).encode()
    done = call("decode", given=good + b"\n" + b"{}\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert lines[0]["resource_status"] == "queued"
    assert lines[1]["refused"] == "not-cloudevent"


def test_doctor_reports_what_is_wrong_and_exits_with_2() -> None:
    """It names an endpoint that does not respond."""
    done = call("doctor", "some-stream", "--endpoint-url", "http://127.0.0.1:9", "--leases", "memory:")
    assert done.returncode == 2
    assert b"FAILED  stream" in done.stdout
    assert b"ok      leases" in done.stdout
    assert b"Traceback" not in done.stderr


def test_ctrl_c_ends_the_credential_process_of_a_short_command(tmp_path: Path) -> None:
    """It runs in a separate session, so the terminal's signal does not reach it."""
    helper, began = tmp_path / "helper.sh", tmp_path / "began"
    helper.write_text(f"#!/bin/sh\necho $$ > {began}.new\nmv {began}.new {began}\nexec sleep 60\n")
    helper.chmod(0o700)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {helper}\n")
    exports = {name: value for name, value in environment().items() if not name.startswith("AWS_")}
    exports |= {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    command = [sys.executable, "-m", "consumer", "doctor", "calls", "--region", "us-east-1", "--leases", "memory:"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=exports) as doctor:
        wait_until(began.exists)
        doctor.send_signal(signal.SIGINT)
        assert doctor.wait(20) == 128 + signal.SIGINT
    wait_until(lambda: not _runs(began.read_text().strip()))


def _runs(process: str) -> bool:
    """Return whether a process runs. The command line of one that has ended is empty."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False
