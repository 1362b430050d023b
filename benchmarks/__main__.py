"""Compare the worker with a plain loop on the same records, and measure an idle worker.

Print a table and two lines. Exit with 1 if a run did not write every event exactly once.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import Process
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.events import STREAM
from benchmarks.processes import SHARDS, Cost, plain_loop, run, stub, worker

SETTLE = 5.0  # seconds after which the worker has started
PER_AGGREGATE = 20
Contender = Callable[[str, Path], list[str]]
CONTENDERS: dict[str, Contender] = {
    "plain loop": lambda url, directory: plain_loop(STREAM, url, directory),
    "call-consumer": lambda url, directory: worker(STREAM, url, directory, "--until-caught-up"),
}
Costs = dict[str, list[Cost]]


def compare(events: int, runs: int, answer: int, per_record: int) -> Costs:
    """Run all contenders in turn, `runs` times each."""
    costs: Costs = {name: [] for name in CONTENDERS}
    options = {"--events": events, "--answer": answer, "--per-record": per_record}
    with stub(*(text for option in options.items() for text in map(str, option))) as url:
        for number in range(runs):
            for name, command in CONTENDERS.items():
                costs[name].append(cost := _once(command, url, events))
                _say(f"{number + 1}/{runs} {name}: {cost.cpu:.1f} s of CPU in {cost.wall:.1f} s")
    return costs


def _once(command: Contender, url: str, events: int) -> Cost:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = Path(folder)
        cost = run(command(url, directory), directory)
        # In a separate process, because a process starts with its parent's peak of memory.
        checking = Process(target=check, args=(directory, events))
        checking.start()
        checking.join()
        if checking.exitcode:
            raise SystemExit(1)
    return cost


def check(directory: Path, events: int) -> None:
    """Check that a run wrote each event exactly once.

    Raises:
        SystemExit: it did not; the message counts rows and events.
    """
    ids: set[str] = set()
    rows = 0
    for path in directory.rglob("*.jsonl"):
        with path.open("rb") as lines:
            for line in lines:
                ids.add(json.loads(line)["event_id"])
                rows += 1
    if not rows == len(ids) == events:
        raise SystemExit(f"{events} events came to {rows} rows of {len(ids)} events")


def idle(seconds: float) -> tuple[Cost, float]:
    """Return the cost of a start, and the percentage of a core that an idle worker uses.

    Run the worker twice: one run ends when it has started, one continues for some seconds. The difference is idling.
    """
    with stub("--events", "0") as url:
        start, whole = (_stopped(url, SETTLE + more) for more in (0.0, seconds))
    return start, 100 * (whole.cpu - start.cpu) / (whole.wall - start.wall)


def _stopped(url: str, seconds: float) -> Cost:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return run(worker(STREAM, url, Path(folder)), Path(folder), stop_after=seconds)


def table(compared: dict[str, Costs], events: int) -> Table:
    """Return a table of medians. The CPU ratio is the median of the ratios of neighbouring runs."""
    shown = Table("", "CPU µs per event", "(min-max)", "events/s", "peak MB", "CPU ratio")
    for kind, costs in compared.items():
        baseline = costs["plain loop"]
        for name, runs in costs.items():
            each = [1e6 * cost.cpu / events for cost in runs]
            shown.add_row(
                f"{name}, {kind}",
                f"{median(each):.1f}",
                f"{min(each):.1f}-{max(each):.1f}",
                f"{median(events / cost.wall for cost in runs):,.0f}",
                f"{max(cost.memory for cost in runs):.0f}",
                f"{median(mine.cpu / theirs.cpu for mine, theirs in zip(runs, baseline, strict=True)):.2f}",
            )
    return shown


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--answer", type=int, default=500, help="maximum events per response of the stub")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch an idle worker")
    given = parser.parse_args()
    console = Console(width=100)
    compared = {
        kind: compare(given.events, given.runs, given.answer, per_record)
        for kind, per_record in (("plain", 1), ("aggregated", PER_AGGREGATE))
        if given.runs
    }
    console.print(table(compared, given.events))
    if given.idle:
        start, idling = idle(given.idle)
        console.print(f"start and stop: {start.cpu:.2f} s of CPU, {start.memory:.0f} MB")
        console.print(f"{SHARDS} idle shards: {idling:.2f} % of a core over {given.idle:.0f} s")


if __name__ == "__main__":
    main()
