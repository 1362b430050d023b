"""Check that written data survives a crash of the machine, by the order of system calls of a real process.

A checkpoint after rows that are only in the page cache could lose them. So `write` returns after an fsync of the file
and then of its folder. SQLite commits with an fsync of its log (synchronous=FULL).
"""

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer.errors import LeaseTableUnavailable
from consumer.files.sqlite import SqliteFile
from tests.needs import need

# Each step of a script prints a line, which marks the step in the trace.
SCRIPT = """
import os, sys
from pathlib import Path
from consumer.leases import Change, Lease, Scope
from consumer.leases import lease as steps
from consumer.leases.lease import WorkerIdentity
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.records import Block
from consumer.sinks import SinkSchema
from consumer.sinks.jsonl import JsonlSink
from consumer.sinks.sqlite import SqliteSink
from consumer.sinks.stdout import StdoutSink

class Rows:
    def __init__(self, name, id=1): self.name, self.id = name, id
    def __len__(self): return 1
    def __iter__(self): yield Block(b'{"id":%d,"value":"v"}\\n' % self.id, 1)

def did(step): os.write(2, f"DID {step}\\n".encode())
"""
JSONL = """
sink = JsonlSink(Path("rows"), private=%r)
sink.check(); did("check")
sink.write(Rows("dt=1/hour=2/a")); did("first")
sink.write(Rows("dt=1/hour=2/b")); did("second")
sink.write(Rows("dt=1/hour=2/b")); did("again")
"""
SQLITE = """
sink = SqliteSink(Path("rows.db"), SinkSchema("things", ("id", "value"), ("id",), private=%r))
sink.check(); did("check")
sink.write(Rows("a")); did("first")
sink.write(Rows("b", 2)); did("second")
"""
LEASES = """
table = SqliteLeaseTable(Path("leases.db"), Scope("calls", "stream", 1.0))
table.check(); did("check")
row = Lease("shardId-000000000000", owner="me")
table.create(row); did("create")
table.write([Change(row, steps.taken(row, WorkerIdentity("me", "a")))]); did("take")
[taken] = table.scan()
table.write([Change(taken, steps.renewed(taken, WorkerIdentity("me", "a"), None))]); did("renew")
"""
STDOUT = """
StdoutSink(os.open("out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)).write(Rows("a")); did("write")
"""


class Call(NamedTuple):
    name: str
    path: str  # relative to the directory of the run


def traced(directory: Path, script: str) -> dict[str, list[Call]]:
    """Run a script under strace. Return the calls of each step."""
    need(shutil.which("strace") is not None, "strace")
    calls = "trace=fsync,fdatasync,link,linkat,write,pwrite64,mkdir"
    command = ["strace", "-f", "-y", "-e", calls, "-o", str(directory / "trace"), sys.executable, "-c", SCRIPT + script]
    subprocess.run(command, cwd=directory, check=True, timeout=60, env={"PYTHONPATH": str(Path(__file__).parents[2])})
    steps: dict[str, list[Call]] = {}
    found: list[Call] = []
    for line in (directory / "trace").read_text().splitlines():
        if marked := re.search(r'"DID (\w+)', line):
            steps[marked[1]], found = found, []
        elif made := re.match(r"\d+ +(\w+)\((.*)", line):
            on_descriptor = re.match(r"\d+<([^>]*)>", made[2])
            path = on_descriptor[1] if on_descriptor else re.findall(r'"([^"]*)"', made[2])[-1]
            found.append(Call(made[1], path.removeprefix(str(directory)).removeprefix("/")))
    return steps


def position(calls: list[Call], name: str, path: str) -> int:
    """Return the index of a call in its step. The pattern includes the path."""
    places = [n for n, call in enumerate(calls) if call.name == name and re.fullmatch(path, call.path)]
    assert places, f"no {name} of {path} in {calls}"
    return places[-1]


@pytest.mark.parametrize("private", [False, True], ids=["rows", "dead letters"])
def test_a_file_is_flushed_before_it_gets_its_name_and_the_folder_before_write_returns(
    tmp_path: Path, private: bool
) -> None:
    """This holds for an existing file, too, because its writer may have been killed before it flushed the folder."""
    steps = traced(tmp_path, JSONL % private)
    for step, name in (("first", "a"), ("second", "b")):
        calls, file = steps[step], rf"rows/dt=1/hour=2/\.{name}\..*\.tmp"
        written, flushed = position(calls, "write", file), position(calls, "fsync", file)
        linked = position(calls, "link", rf".*rows/dt=1/hour=2/{name}\..*")
        assert written < flushed < linked < position(calls, "fsync", "rows/dt=1/hour=2")
    position(steps["again"], "fsync", "rows/dt=1/hour=2")


def test_each_new_folder_is_flushed_into_its_parent(tmp_path: Path) -> None:
    """Otherwise a crash could remove the whole folder."""
    steps = traced(tmp_path, JSONL % False)
    assert position(steps["check"], "mkdir", "rows") < position(steps["check"], "fsync", "")
    for made, above in (("dt=1", "rows"), ("dt=1/hour=2", "rows/dt=1")):
        assert position(steps["first"], "mkdir", f"rows/{made}") < position(steps["first"], "fsync", above)


def test_folders_of_a_killed_worker_are_flushed_by_the_next(tmp_path: Path) -> None:
    """They exist, but perhaps only in the page cache."""
    (tmp_path / "rows" / "dt=1" / "hour=2").mkdir(parents=True)
    (tmp_path / "rows" / "dt=1" / "hour=2" / "a.jsonl").touch()
    calls = traced(tmp_path, JSONL % False)["first"]
    for folder in ("", "rows", "rows/dt=1", "rows/dt=1/hour=2"):
        position(calls, "fsync", folder)


@pytest.mark.parametrize("private", [False, True], ids=["rows", "dead letters"])
def test_every_commit_of_rows_is_flushed(tmp_path: Path, private: bool) -> None:
    """With synchronous=NORMAL, only log checkpoints would be."""
    steps = traced(tmp_path, SQLITE % private)
    position(steps["check"], "fsync", "")  # the folder that contains the new file
    for step in ("first", "second"):
        assert position(steps[step], "pwrite64", "rows.db-wal") < position(steps[step], "fdatasync", "rows.db-wal")


def test_every_commit_of_leases_is_flushed(tmp_path: Path) -> None:
    """A lost checkpoint would repeat rows, and a lost take would make two owners."""
    steps = traced(tmp_path, LEASES)
    for step in ("create", "take", "renew"):
        assert position(steps[step], "pwrite64", "leases.db-wal") < position(steps[step], "fdatasync", "leases.db-wal")


def test_standard_output_to_a_file_is_flushed(tmp_path: Path) -> None:
    """A shell may redirect it to a regular file."""
    calls = traced(tmp_path, STDOUT)["write"]
    assert position(calls, "write", "out") < position(calls, "fsync", "out")


def test_every_sqlite_connection_flushes_its_commits(tmp_path: Path) -> None:
    """This needs no strace, and includes reading connections and reopened files."""
    file = SqliteFile(tmp_path / "x.db", "--sink", lambda *_: None, LeaseTableUnavailable, 1.0)
    file.check()
    for _ in range(2):
        with file.transaction() as writing, file.reading() as reading:
            for connection in (writing, reading):
                assert _pragma(connection, "synchronous") == 2
                assert _pragma(connection, "journal_mode") == "wal"
        file.close()


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
