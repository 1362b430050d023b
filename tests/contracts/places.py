"""Provide every sink, each in a separate location that tests can read and break."""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from consumer.pipeline.batching import Part
from consumer.pipeline.spool import Spool
from consumer.records import Block
from consumer.sinks import Deduplication, Rows, Sink, SinkSchema, jsonl, sqlite, stdout
from consumer.testing import ROWS, SinkPlace
from consumer.urls import options_of, parse
from tests.simulation.sinks import SimSink, Store
from tests.simulation.stream import Faults
from tests.simulation.world import Process, World

OPEN: list[Any] = []  # what a test opened; its fixture closes it
WHERE = {"shard_id": "shard", "sequence_number": "1"}


def part(ids: Sequence[int], name: str = "dt=2026-01-01/hour=00/shard-1-2") -> Part:
    """Return rows with these ids, each in a separate block. They are on disk, like many."""
    spool = Spool(memory=0)
    OPEN.append(spool)
    for number in ids:
        line = b'{"id":%d,"value":"v"}\n' % number
        spool.append(Block(line, 1, [line]), len(line))
    return Part(name, spool, 0, len(ids))


def interrupted(rows: Rows, call: Callable[[], object]) -> Any:
    """Return the rows in a form that calls a function after the first block."""

    class Interrupted:
        name = rows.name

        def __len__(self) -> int:
            return len(rows)

        def __iter__(self) -> Iterator[Block]:
            blocks = iter(rows)
            yield next(blocks)
            call()
            yield from blocks

    return Interrupted()


def connect(module: Any, text: str, contents: SinkSchema = ROWS) -> Sink:
    """Return the sink for a URL."""
    url = parse("--sink", text)
    sink: Sink = module.connect(url, options_of(url, module.Options), contents)
    OPEN.append(sink)
    return sink


def stdout_place(directory: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
    """Provide standard output to a file."""
    file = directory / "out"

    def fresh() -> Sink:
        OPEN.append(output := file.open("ab"))
        return stdout.StdoutSink(output.fileno())

    @contextmanager
    def trouble() -> Iterator[None]:
        write = os.write
        with monkeypatch.context() as patch:
            patch.setattr(stdout.os, "write", half_then_full(write))  # type: ignore[attr-defined]
            yield

    return SinkPlace(fresh, lambda: ids(file.read_text()) if file.exists() else [], trouble)


def half_then_full(write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
    """Simulate a disk with space for a part of a line."""
    room = [10]

    def limited(descriptor: int, data: Any) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken, room[0] = room[0], 0
        return write(descriptor, data[:taken])

    return limited


def ids(text: str) -> list[int]:
    """Return the ids of complete lines. A reader skips a torn one."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line)["id"])
        except ValueError:
            continue
    return found


def jsonl_place(directory: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
    """Provide a directory of files."""
    rows = directory / "rows"

    @contextmanager
    def trouble() -> Iterator[None]:
        def broken(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            yield

    def seen() -> list[int]:
        return [number for file in sorted(rows.rglob("[!.]*.jsonl")) for number in ids(file.read_text())]

    return SinkPlace(lambda: connect(jsonl, f"jsonl:{rows}"), seen, trouble)


def sqlite_place(directory: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
    """Provide a table in a file."""
    file = directory / "rows.db"
    monkeypatch.setattr(sqlite, "BUSY", 0.05)

    @contextmanager
    def trouble() -> Iterator[None]:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.close()

    def seen() -> list[int]:
        reader = sqlite3.connect(file)
        found = [row[0] for row in reader.execute("SELECT id FROM things ORDER BY rowid")]
        reader.close()
        return found

    return SinkPlace(lambda: connect(sqlite, f"sqlite:{file}"), seen, trouble, unstorable=2**70)


@dataclass(frozen=True)
class Translated:
    """The rows of a test in the form that the simulation's sink reads."""

    rows: Rows

    @property
    def name(self) -> str:
        return self.rows.name

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Block]:
        for block in self.rows:
            lines = [json.dumps({"event_id": str(number), **WHERE}).encode() for number in ids(block.lines.decode())]
            yield Block(b"\n".join(lines), len(lines))


class TranslatingSink(SimSink):
    """The simulation's sink for the rows of a test."""

    def write(self, rows: Rows) -> int:
        return super().write(Translated(rows))


@dataclass
class Simulated:
    """The sink of the simulation, which must pass the same contract."""

    repeats: Deduplication
    world: World = field(default_factory=lambda: World(seed=2))
    lock: Any = field(default_factory=threading.Lock)

    def place(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
        """Provide a store that all processes share."""
        store, faults = Store(self.repeats), Faults(self.world, {"sink after": 1.0})
        faults.quiet = True

        @contextmanager
        def trouble() -> Iterator[None]:
            faults.quiet = False
            yield
            faults.quiet = True

        def seen() -> list[int]:
            return [int(row.event_id) for row in store.rows]

        return SinkPlace(lambda: TranslatingSink(self.world, store, Process("p"), faults), seen, trouble)


PLACES: dict[str, Callable[[Path, pytest.MonkeyPatch], SinkPlace]] = {
    "stdout": stdout_place,
    "jsonl": jsonl_place,
    "sqlite": sqlite_place,
    **{
        f"simulated {repeats.value}": lambda d, m, repeats=repeats: Simulated(repeats).place(d, m)  # type: ignore[misc]
        for repeats in Deduplication
    },
}
