"""The consumers that are compared: a command line for each, and how its rows are counted."""

import gzip
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.environments import ROOT, peers
from benchmarks.events import STREAM
from benchmarks.processes import worker


@dataclass(frozen=True)
class Job:
    """What a contender reads, and where it puts its files. `per_record`: events per KPL aggregate; 1: plain records."""

    url: str
    directory: Path
    events: int
    per_record: int = 1


@dataclass(frozen=True)
class Contender:
    """A consumer. `rows` names its standard output if the rows go there; `variables` are added to its environment."""

    name: str
    command: Callable[[Job], list[str]]
    stdout: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    steady: bool = False  # it prints the CPU µs per event of its second half as its last word
    uncounted: bool = False  # its rows are not where this process can count them

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("call-consumer")


class _Id(msgspec.Struct):
    event_id: str


def event_ids(directory: Path) -> Iterator[str]:
    """Yield the id of each row in a directory: in files with JSON lines, compressed or not, and in SQLite."""
    decode = msgspec.json.Decoder(_Id).decode
    for path in directory.rglob("*.jsonl*"):
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as lines:
            for line in lines:
                yield decode(line).event_id
    for path in directory.rglob("rows.db"):
        with closing(sqlite3.connect(path)) as database:
            yield from (name for (name,) in database.execute("SELECT event_id FROM call_requests"))


def _plain_loop(job: Job) -> list[str]:
    return [sys.executable, "-m", "benchmarks.plain_loop", *_where(job)]


def _where(job: Job) -> list[str]:
    return [STREAM, "--endpoint-url", job.url, "--directory", str(job.directory)]


def ours(sink: str, program: Path | None = None) -> Callable[[Job], list[str]]:
    """Return the command of this worker for a sink. In its URL, `{}` is the directory, `{schema}` a new name."""

    def command(job: Job) -> list[str]:
        schema = re.sub("[^a-z0-9]", "_", job.directory.name.lower())  # a new one per run
        words = worker(
            STREAM, job.url, job.directory, "--until-caught-up", "--sink", sink.format(job.directory, schema=schema)
        )
        return [str(program), *words[1:]] if program else words

    return command


SINKS = {
    "jsonl": "jsonl:{}/rows",
    "stdout": "stdout:",
    "sqlite": "sqlite:{}/rows.db",
    "file": "file:{}/rows",
}


def of_sinks(names: list[str], program: Path | None = None, label: str = "call-consumer") -> Iterator[Contender]:
    """Yield this worker for each sink, by the name of its URL. A whole URL works, too, if its rows need no count."""
    for name in names:
        sink = SINKS.get(name, name)
        stdout = "rows.jsonl" if sink == "stdout:" else ""
        yield Contender(f"{label}, {name.partition(':')[0]}", ours(sink, program), stdout, uncounted=name not in SINKS)


def plain_loop() -> Contender:
    return Contender("plain loop", _plain_loop)


def of_libraries() -> Iterator[Contender]:
    """Yield async-kinesis and the two floors.

    Raises:
        Unavailable: their environment cannot be made.
    """
    python, path = str(peers()), {"PYTHONPATH": str(ROOT)}

    def floor(model: str) -> Callable[[Job], list[str]]:
        return lambda job: [python, "-m", "benchmarks.peers.floor", *_where(job), "--model", model]

    def async_kinesis(job: Job) -> list[str]:
        ends = ["--events", str(job.events), *(["--aggregated"] if job.per_record > 1 else [])]
        return [python, "-m", "benchmarks.peers.async_kinesis", *_where(job), *ends]

    yield Contender("async-kinesis", async_kinesis, variables=path)
    yield Contender("floor, pydantic", floor("pydantic"), variables=path)
    yield Contender("floor, msgspec", floor("msgspec"), variables=path)
