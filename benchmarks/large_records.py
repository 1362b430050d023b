"""Measure the cost of a record of 10 MiB: `python -m benchmarks.large_records [--raw] [--jsonl] [WORD…]`.

Print the MiB that each shape of record adds at its peak, and its CPU seconds. Each record is delivered in a separate
process, from its bytes to rows and dead letters in files. With words, measure only shapes whose names contain one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from benchmarks.shapes import SHAPES, SMALLEST, event, member
from consumer.app import create_pipeline
from consumer.decoding.decoder import Decoder
from consumer.leases import Pending
from consumer.pipeline.intake import fill
from consumer.pipeline.pipeline import Pipeline
from consumer.records import Position, Record, Shard
from consumer.settings import load

HALF = (0, 2**127 - 1)  # half of all hash keys, so that each user record's hash key is checked


class Cost(NamedTuple):
    """The outcomes of one record, the MiB that it added at the peak, and its CPU seconds."""

    rows: int
    letters: int
    skipped: int
    added: float
    seconds: float


class AlwaysHeld:
    """A checkpointer without a lease table: the shard is always held, and nothing is stored."""

    pending = None

    def ensure_held(self) -> None:
        """Return, because the shard is always held."""

    def prepare(self, pending: Pending) -> None:
        """Do nothing."""

    def checkpoint(self, position: Position) -> None:
        """Do nothing."""


def measure(data: bytes, *flags: str) -> Cost:
    """Return the cost of a record, measured in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "record").write_bytes(data)
        command = [sys.executable, "-m", "benchmarks.large_records", "--child", folder, *flags]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return Cost(*json.loads(done.stdout.splitlines()[-1]))  # log lines come before it


def child(folder: Path, raw: bool, sink: str) -> Cost:
    """Deliver the record in a folder and return its cost. Deliver a few small records first, to import everything."""
    places = {"sink": f"{sink}:{folder}/rows", "dead_letters": f"{sink}:{folder}/letters"}
    out = create_pipeline(load({**places, "raw": raw}))
    out.check()
    for number, small in enumerate((SMALLEST, member(b"[1e999]"), b"", event(response={"responseCode": []}))):
        _deliver(out, number, small, raw)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, began, counts = _memory("VmRSS"), time.process_time(), out.metrics.snapshot()
    _deliver(out, 9, (folder / "record").read_bytes(), raw)
    added, seconds, after = _memory("VmHWM") - before, time.process_time() - began, out.metrics.snapshot()
    rows = after.rows_written + after.repeated - counts.rows_written - counts.repeated
    letters = after.dead_letters.total() - counts.dead_letters.total()
    return Cost(rows, letters, after.skipped.total() - counts.skipped.total(), added, seconds)


def _deliver(out: Pipeline, number: int, data: bytes, raw: bool) -> None:
    decoder = Decoder("stream", Shard("shard", hash_range=HALF), raw, out.rows.rejects_rows)
    buffer = out.buffer("shard")
    fill(buffer, decoder, deque([Record(number, "key", 0.0, data)]), 0.0)
    out.delivery(AlwaysHeld()).deliver(buffer.batch())
    buffer.close()


def _memory(which: str) -> float:
    """Return MiB in memory now (VmRSS), or at the peak since the last reset (VmHWM). Linux only."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which)]
    return int(line.split()[1]) / 1024


def main(*arguments: str) -> None:
    """Print a line for each shape. With `--child`, be the measured process."""
    words = [word for word in arguments if not word.startswith("-")]
    flags = [word for word in arguments if word.startswith("-")]
    if "--child" in flags:
        print(json.dumps(child(Path(words[0]), "--raw" in flags, "jsonl" if "--jsonl" in flags else "sqlite")))
        return
    print(f"{'':<42} {'MiB':>6} {'s':>6} {'rows':>8} {'letters':>8} {'skipped':>8}")
    for name, made in SHAPES.items():
        if any(word in name for word in words or [""]):
            cost = measure(made(), *flags)
            print(f"{name:<42} {cost.added:6.0f} {cost.seconds:6.2f} {cost.rows:8} {cost.letters:8} {cost.skipped:8}")


if __name__ == "__main__":
    main(*sys.argv[1:])
