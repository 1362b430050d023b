"""Show where the worker's CPU goes: `make profile`.

Run the worker in this process on the stub, with a CPU clock around each step. A step counts what its thread uses, less
what the steps inside it use. `start` is everything up to the first read. `rest` is the remainder of the process: the
scheduler, renewals, checkpoints of the caught-up shards, logs, the end and the clocks. So the lines add up to the
process. The clocks themselves cost about 0.5 µs of CPU per call; a call is a response, a block or a batch, so that is
below 1 %. A thread that waits uses no CPU, so waiting for Python's lock counts for no step.
"""

import argparse
import functools
import importlib
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.events import STREAM
from benchmarks.figures import Figure, machine_line, write
from benchmarks.processes import ENVIRONMENT, stub, worker

# The step, and the function that does it. A function inside another one is counted once, for the inner step.
STEPS = (
    ("fetch", "consumer.streams.kinesis", "KinesisStream.open"),
    ("fetch", "consumer.streams.kinesis", "KinesisStream.fetch"),
    ("decode", "consumer.decoding.decoder", "Decoder.__call__"),
    ("encode", "consumer.decoding.block_draft", "encode_rows"),
    ("buffer", "consumer.shard.batch_assembly", "BatchAssembly.decode"),
    ("buffer", "consumer.shard.batch_assembly", "BatchAssembly.batch"),
    ("deliver", "consumer.pipeline.delivery", "Delivery.deliver"),
)
QUIET = ("--log-level", "error")


class Clocks:
    """The CPU seconds of each step, over all threads. `first`: the process's CPU before the first step."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.first: float | None = None
        self._thread, self._lock = threading.local(), threading.Lock()

    def timed(self, step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same under a clock. Pieces that it yields later are timed, too."""

        @functools.wraps(work)
        def under_clock(*arguments: Any, **named: Any) -> Any:
            result = self._call(step, lambda: work(*arguments, **named))
            return self._pieces(step, result) if isinstance(result, Iterator) else result

        return under_clock

    def _call(self, step: str, work: Callable[[], Any]) -> Any:
        if self.first is None:
            self.first = time.process_time()
        outer, self._thread.inside = getattr(self._thread, "inside", 0.0), 0.0
        began = time.thread_time()
        try:
            return work()
        finally:
            used = time.thread_time() - began
            with self._lock:
                self.seconds[step] += used - self._thread.inside
            self._thread.inside = outer + used

    def _pieces(self, step: str, pieces: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (piece := self._call(step, lambda: next(pieces, end))) is not end:
            yield piece


def install(clocks: Clocks) -> None:
    """Put clocks around the steps."""
    for step, module, path in STEPS:
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, clocks.timed(step, getattr(owner, name)))


def figures(clocks: Clocks, total: float, events: int) -> Iterator[Figure]:
    """Yield the CPU per event of each step, of the rest, and of the process."""
    start = clocks.first or total
    spent = {"start": start, **{step: clocks.seconds[step] for step in dict.fromkeys(name for name, _, _ in STEPS)}}
    spent["rest"] = total - sum(spent.values())
    for step, seconds in {**spent, "total": total}.items():
        yield Figure(step, 1e6 * seconds / events, "µs/event", None, f"{100 * seconds / total:.0f} %")


def profile(events: int, per_record: int, sink: str, options: list[str]) -> list[Figure]:
    """Run the worker here until it is caught up. Return the figures."""
    clocks = Clocks()
    with stub("--events", events, "--per-record", per_record) as url, tempfile.TemporaryDirectory() as folder:
        words = worker(STREAM, url, Path(folder), "--until-caught-up", "--sink", sink.format(folder), *QUIET, *options)
        before = time.process_time()
        _run(words, clocks)
        return list(figures(clocks, time.process_time() - before, events))


def _run(words: list[str], clocks: Clocks) -> None:
    os.environ.update(ENVIRONMENT)
    sys.argv = words
    from consumer.__main__ import main as call_consumer

    install(clocks)
    os._exit = sys.exit  # type: ignore[assignment] # the command ends its process in this way
    try:
        call_consumer()
    except SystemExit as error:
        if error.code:
            raise


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--per-record", type=int, default=1, help="events per KPL aggregate; 1: plain records")
    parser.add_argument("--sink", default="jsonl:{}/rows", help="{} is a temporary directory")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given, options = parser.parse_known_args()
    found = profile(given.events, given.per_record, given.sink, options)
    print(machine_line())
    for figure in found:
        print(figure.line())
    write(given.json, found)


if __name__ == "__main__":
    main()
