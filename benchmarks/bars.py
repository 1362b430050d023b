"""Measure what has a bar beside the CPU per event: `python -m benchmarks.bars NAME …`.

Each name prints a line with the value and its bar. `--json FILE` keeps all values. Linux only.
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import IO, Any

from benchmarks.contenders import Job, ours
from benchmarks.environments import commit
from benchmarks.events import STREAM
from benchmarks.figures import Figure, machine_line, write
from benchmarks.processes import SHARDS, Cost, cost_of, cpu_of, handles_of, memory_of, run, start, stub, worker

SETTLE = 5.0  # seconds after which the worker has started
TO_TIP = ["--sink", "stdout:", "--poll-interval", "0.2", "--batch-age", "0.2"]
FOREVER = 10**12


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def _stop(process: "subprocess.Popen[bytes]", began: float, directory: Path) -> Cost:
    process.send_signal(signal.SIGTERM)
    return cost_of(process, began, directory)


def _caught_up(url: str, program: Path | None = None, sink: str = "jsonl:{}/rows") -> Cost:
    with folder() as directory:
        return run(ours(sink, program)(Job(url, directory, 0)), directory)


# Measurements ----------------------------------------------------------------------------------------------------


def growth(events: int, runs: int) -> Iterator[Figure]:
    """Compare the CPU per event of four times as many events."""
    each: dict[int, list[float]] = {events: [], 4 * events: []}
    for _ in range(runs):
        for number, costs in each.items():
            with stub("--events", number, "--distinct", events) as url:
                costs.append(1e6 * _caught_up(url).cpu / number)
    few, many = (median(costs) for costs in each.values())
    note = f"{few:.1f} and {many:.1f} µs per event"
    yield Figure(f"{4 * events:,} events / {events:,}: CPU per event", many / few, "", 1.02, note)


def two_processes(events: int, runs: int) -> Iterator[Figure]:
    """Compare the CPU of two processes on one stream with that of one."""
    ratios = []
    for _ in range(runs):
        with stub("--events", events, "--distinct", min(events, 200_000)) as url:
            one = _caught_up(url).cpu
            with folder() as shared:
                processes = [_beside(url, shared, name) for name in ("a", "b")]
                both = sum(cost_of(process, 0, shared / process_name).cpu for process_name, process in processes)
            ratios.append(both / one)
    yield Figure("two processes on one stream / one: CPU", median(ratios), "", 1.06, "starting twice included")


def _beside(url: str, shared: Path, name: str) -> "tuple[str, subprocess.Popen[bytes]]":
    (directory := shared / name).mkdir()
    command = worker(STREAM, url, shared, "--until-caught-up", "--sink", f"jsonl:{directory}/rows")
    return name, start(command, directory)


def idle(seconds: float, baseline: str | None = None) -> Iterator[Figure]:
    """Measure four idle shards, and compare them with an older commit."""
    with ExitStack() as opened:
        older = opened.enter_context(commit(baseline)) if baseline else None
        url = opened.enter_context(stub("--events", 0))
        first, share = _idling(url, seconds)
        yield Figure("start and stop: CPU", first.cpu, "s", None, f"{first.memory:.0f} MB")
        yield Figure(f"{SHARDS} idle shards", 100 * share, "% of core", None, f"over {seconds:g} s")
        if older:
            ratio = share / _idling(url, seconds, older)[1]
            yield Figure(f"{SHARDS} idle shards / the baseline: CPU", ratio, "", 0.8)


def _idling(url: str, seconds: float, program: Path | None = None, settle: float = SETTLE) -> tuple[Cost, float]:
    """Return the cost of a start and stop, and the cores that idling uses: the difference of a short and a long run."""
    with folder() as directory:
        words = worker(STREAM, url, directory)
        command = [str(program), *words[1:]] if program else words
        first = run(command, directory, stop_after=settle)
    with folder() as directory:
        words = worker(STREAM, url, directory)
        process = start([str(program), *words[1:]] if program else words, directory)
        time.sleep(settle)
        began, cpu = time.monotonic(), cpu_of(process.pid)
        time.sleep(seconds)
        share = (cpu_of(process.pid) - cpu) / (time.monotonic() - began)
        _stop(process, began, directory)
    return first, share


def many_idle(seconds: float, shards: int = 300) -> Iterator[Figure]:
    """Measure 300 idle shards that are polled once per second."""
    with stub("--events", 0, "--shards", shards) as url:
        _, share = _idling(url, seconds, settle=3 * SETTLE)
    yield Figure(f"{shards} idle shards, polled once per second", share, "cores", 0.35, f"over {seconds:g} s")


def memory(events: int) -> Iterator[Figure]:
    """Measure the peak of four busy shards with the default budget."""
    with stub("--events", events) as url:
        cost = _caught_up(url)
    yield Figure("4 busy shards, default budget: peak RSS", cost.memory, "MB", 115)


def behind(seconds: float, shards: int = 1000) -> Iterator[Figure]:
    """Measure the peak of 1,000 shards behind a sink that takes 1 MB per second."""
    budget = 32.0
    with stub("--events", shards * 200, "--shards", shards) as url, folder() as directory:
        command = worker(STREAM, url, directory, "--sink", "stdout:", "--memory", "32MiB")
        began, process = time.monotonic(), start(command, directory, stdout=subprocess.PIPE)
        assert process.stdout is not None
        until, peak = began + seconds, 0.0
        while time.monotonic() < until:
            os.read(process.stdout.fileno(), 100_000)
            time.sleep(0.1)
            peak = max(peak, memory_of(process.pid))
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        _stop(process, began, directory)
    note = f"budget {budget:.0f} MiB, over {seconds:g} s"
    yield Figure(f"{shards:,} shards behind, slow sink: peak RSS", peak, "MB", budget * 1.048576 + 120, note)


def _drain(lines: IO[bytes]) -> None:
    while lines.read(1 << 20):
        pass


def first_record(runs: int) -> Iterator[Figure]:
    """Measure the time and CPU from a start to its first row, with leases that exist."""
    walls, cpus = [], []
    with stub("--events", 10_000, "--live", 120) as url, folder() as directory:
        command = worker(STREAM, url, directory, *TO_TIP)
        for _ in range(runs + 1):
            began, process = time.monotonic(), start(command, directory, stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            walls.append(time.monotonic() - began)
            cpus.append(cpu_of(process.pid))
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            _stop(process, began, directory)
    yield Figure("start to first record, existing table: time", median(walls[1:]), "s", 1.5, "batch age 0.2 s included")
    yield Figure("start to first record, existing table: CPU", median(cpus[1:]), "s", 0.6)


def tip(seconds: float) -> Iterator[Figure]:
    """Measure the time from an event's arrival to its row, with reads and batches every 0.2 s."""
    rate = 200
    with stub("--events", int(rate * (seconds + 10)), "--live", seconds + 10) as url, folder() as directory:
        command = worker(STREAM, url, directory, *TO_TIP)
        began, process = time.monotonic(), start(command, directory, stdout=subprocess.PIPE)
        assert process.stdout is not None
        waits = list(_waits(process.stdout, began + SETTLE, began + seconds))
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        _stop(process, began, directory)
    hundredths = quantiles(waits, n=100)
    note = f"{len(waits):,} events, poll interval and batch age 0.2 s"
    yield Figure("arrival to row at the tip: p50", hundredths[49], "s", 0.35, note)
    yield Figure("arrival to row at the tip: p99", hundredths[98], "s", 0.7, note)


def _waits(lines: IO[bytes], since: float, until: float) -> Iterator[float]:
    """Yield the seconds from arrival to row of the rows that come between two moments."""
    for line in lines:
        now = time.monotonic()
        if now > until:
            return
        if now > since:
            yield time.time() - datetime.fromisoformat(json.loads(line)["arrived_at"]).timestamp()


def steady(seconds: float) -> Iterator[Figure]:
    """Measure memory and open files at full rate, with reshards, throttled reads and failed reads."""
    faults = ["--throttle", 0.05, "--failure", 0.02, "--reshard", max(5.0, seconds / 20)]
    with stub("--events", FOREVER, "--distinct", 40_000, *faults) as url, folder() as directory:
        command = worker(STREAM, url, directory, "--sink", "stdout:", "--log-level", "error")
        with open(os.devnull, "wb") as nowhere:
            began, process = time.monotonic(), start(command, directory, stdout=nowhere)
        samples = list(_samples(process.pid, began + seconds))
        cost = _stop(process, began, directory)
    early, late = samples[len(samples) // 5 : 2 * len(samples) // 5], samples[-len(samples) // 5 :]
    note = f"over {seconds:g} s with reshards and faults, {cost.cpu / cost.wall:.2f} cores"
    grown = [max(values[kind] for values in late) / max(values[kind] for values in early) for kind in (0, 1)]
    yield Figure("full rate: RSS, last fifth / second fifth", grown[0], "", 1.05, note)
    yield Figure("full rate: open files, last fifth / second fifth", grown[1], "", 1.1, f"{late[-1][1]} at the end")


def _samples(pid: int, until: float) -> Iterator[tuple[float, int]]:
    for _ in count():
        if time.monotonic() > until:
            return
        yield memory_of(pid), handles_of(pid)
        time.sleep(0.5)


def measurements(given: argparse.Namespace) -> dict[str, Callable[[], Iterator[Figure]]]:
    """Return all measurements by name."""
    return {
        "growth": lambda: growth(given.events, given.runs),
        "two-processes": lambda: two_processes(given.events, given.runs),
        "idle": lambda: idle(given.seconds or 60, given.baseline),
        "many-idle": lambda: many_idle(given.seconds or 60),
        "memory": lambda: memory(given.events),
        "behind": lambda: behind(given.seconds or 60),
        "first-record": lambda: first_record(given.runs),
        "tip": lambda: tip(given.seconds or 60),
        "steady": lambda: steady(given.seconds or 300),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bars", description=__doc__)
    parser.add_argument("names", nargs="*", help="of growth, two-processes, idle, many-idle, memory, behind, …")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, help="how long to watch [default: 60, of `steady` 300]")
    parser.add_argument("--baseline", metavar="REVISION", help="an older commit that `idle` is compared with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    given = parser.parse_args(arguments)
    known: dict[str, Any] = measurements(given)
    figures: list[Figure] = []
    print(machine_line(), flush=True)
    for name in given.names or known:
        for figure in known[name]():
            figures.append(figure)
            print(figure.line(), flush=True)
    write(given.json, figures)


if __name__ == "__main__":
    main()
