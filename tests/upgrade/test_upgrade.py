"""Continue leases, prepared batches, rows and dead letters from the earlier release to this one and back."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers import STREAM, environment, expected, put, wait_until

DIE = Path(__file__).with_name("die.py")
BROKEN = [b"broken %d" % number for number in range(4)]
FILES = ("--sink", "jsonl:rows", "--dead-letters", "jsonl:dead-letters", "--lease-duration", "2", "--batch-age", "1")
DATABASE = ("--sink", "sqlite:rows.db", "--dead-letters", "sqlite:rows.db", "--lease-duration", "2")


class Releases:
    """Start workers of both releases in one folder, on one stream and one lease table."""

    def __init__(self, folder: Path, earlier: Path, endpoint: str, leases: str) -> None:
        self.folder, self._earlier = folder, earlier
        self._arguments = ["run", STREAM, "--endpoint-url", endpoint, "--leases", leases]

    def start(self, release: str, *arguments: str, dies: str = "") -> "subprocess.Popen[bytes]":
        """Start a worker of "earlier" or "this" release. `dies` names the write at which it is killed."""
        code = {"PYTHONPATH": str(self._earlier)} if release == "earlier" else {"PYTHONPATH": str(DIE.parents[2])}
        program = [str(DIE), dies] if dies else ["-m", "consumer"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *program, *self._arguments, *arguments],
                cwd=self.folder,
                env=environment() | code,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def run(self, release: str, *arguments: str, dies: str = "") -> int:
        """Run a worker to its end. Return its exit code."""
        with self.start(release, *arguments, dies=dies) as process:
            try:
                return process.wait(60)
            finally:
                process.kill()

    def rows(self) -> list[str]:
        """Return the ids of all rows in files."""
        return [str(row["event_id"]) for row in self._lines("rows")]

    def dead_letters(self) -> list[str]:
        """Return the locations of all dead letters in files."""
        return [str(letter["sequence_number"]) for letter in self._lines("dead-letters")]

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        files = [file for file in (self.folder / kind).rglob("*") if file.is_file() and file.name[0] != "."]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def releases(tmp_path: Path, earlier: Path, endpoint: str, leases: str, kinesis: Any) -> Releases:
    put(kinesis, range(40))
    for number, data in enumerate(BROKEN):
        kinesis.put_record(StreamName=STREAM, Data=data, PartitionKey=str(number))
    return Releases(tmp_path, earlier, endpoint, leases)


@pytest.mark.parametrize(
    ("first", "second", "point", "leases"),
    [
        ("earlier", "this", "letters", "sqlite"),
        ("earlier", "this", "rows", "sqlite"),
        ("earlier", "this", "rows", "dynamodb"),
        ("earlier", "this", "checkpoint", "sqlite"),
        ("this", "earlier", "rows", "dynamodb"),
        ("this", "earlier", "checkpoint", "sqlite"),
        ("this", "this", "rows", "sqlite"),
    ],
    indirect=["leases"],
)
def test_the_other_release_finishes_a_prepared_batch(releases: Releases, first: str, second: str, point: str) -> None:
    """Each row is in one file once, and no dead letter is missing."""
    assert releases.run(first, *FILES, dies=point) == 137
    assert releases.run(second, *FILES, "--until-caught-up") == 0
    assert sorted(releases.rows()) == expected(40)
    assert len(set(releases.dead_letters())) == len(BROKEN)
    if first == second:
        assert len(releases.dead_letters()) == len(BROKEN)


@pytest.mark.parametrize("leases", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("first", "second"), [("earlier", "this"), ("this", "earlier")])
def test_the_other_release_continues_a_database(releases: Releases, kinesis: Any, first: str, second: str) -> None:
    """It uses the same two tables and checkpoints, so only new records are read."""
    assert releases.run(first, *DATABASE, "--until-caught-up") == 0
    put(kinesis, range(40, 50))
    assert releases.run(second, *DATABASE, "--until-caught-up") == 0
    with sqlite3.connect(releases.folder / "rows.db") as database:
        assert sorted(row[0] for row in database.execute("SELECT event_id FROM call_requests")) == expected(50)
        assert database.execute("SELECT count(*) FROM dead_letters").fetchone() == (len(BROKEN),)
    database.close()


@pytest.mark.parametrize("leases", ["sqlite", "dynamodb"], indirect=True)
def test_both_releases_work_in_one_fleet_and_replace_each_other(releases: Releases, kinesis: Any) -> None:
    """A rolling deploy goes forward and back, and each row is written once."""
    running = releases.start("earlier", *FILES)
    published = 40
    for release in ("this", "earlier", "this"):
        follower = releases.start(release, *FILES)
        put(kinesis, range(published, published + 20))
        published += 20
        wait_until(lambda count=published: len(releases.rows()) == count, 60)  # type: ignore[misc]
        running.send_signal(signal.SIGTERM)
        assert running.wait(40) == 0
        running = follower
    put(kinesis, range(published, published + 20))
    wait_until(lambda: len(releases.rows()) == published + 20, 60)
    running.send_signal(signal.SIGTERM)
    assert running.wait(40) == 0
    assert sorted(releases.rows()) == expected(published + 20)
    assert len(set(releases.dead_letters())) == len(BROKEN)
