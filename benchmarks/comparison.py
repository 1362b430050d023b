"""Run contenders in turn on the same records, and compare their CPU."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Process
from pathlib import Path
from statistics import median

from benchmarks.contenders import Contender, Job, event_ids
from benchmarks.figures import Figure
from benchmarks.processes import Cost, run, stub

LOOP, BASELINE = "plain loop", "baseline"
# The most that the worker's CPU may be, relative to another contender's: plain records, KPL aggregates.
BARS: dict[tuple[str, str], tuple[float, float]] = {
    ("call-consumer, jsonl", "baseline, jsonl"): (0.65, 0.78),
    ("call-consumer, sqlite", "baseline, sqlite"): (0.6, 0.6),
    ("call-consumer, jsonl", "floor, pydantic"): (1.15, 1.25),
    ("call-consumer, jsonl", "Go, harlow/kinesis-consumer"): (0.7, 0.7),
    ("call-consumer, jsonl", "KCL in Java, second half"): (1.0, 1.0),
}
SHOWN = [("call-consumer, jsonl", "floor, msgspec"), ("call-consumer, jsonl", LOOP)]


@dataclass
class Runs:
    """The runs of all contenders for one kind of records, or one line that says why there are none."""

    events: int
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def each(self, name: str) -> list[float]:
        """Return the CPU µs per event of each run of a contender. May be empty."""
        return [1e6 * cost.cpu / self.events for cost in self.costs.get(name, [])]

    def ratio(self, name: str, other: str) -> float | None:
        """Return the median of the CPU ratios of neighbouring runs, or None if one of the two was not run."""
        pairs = list(zip(self.each(name), self.each(other), strict=False))
        return median(mine / theirs for mine, theirs in pairs) if pairs else None


def compare(
    contenders: Sequence[Contender], runs: int, events: int, per_record: int, options: Sequence[object]
) -> Runs:
    """Run all contenders in turn, `runs` times each. `options` are those of the stub.

    Leave a contender out after a run that failed, unless it is this worker.

    Raises:
        SystemExit: this worker failed, or lost or repeated an event.
    """
    found = Runs(events)
    with stub("--events", events, "--per-record", per_record, *options) as url:
        for number in range(runs):
            for contender in contenders:
                if contender.name not in found.skipped:
                    _note(found, contender, url, per_record, f"{number + 1}/{runs}")
    return found


def _note(found: Runs, contender: Contender, url: str, per_record: int, which: str) -> None:
    try:
        cost = once(contender, url, found.events, per_record)
    except RuntimeError as error:
        if contender.is_ours:
            raise SystemExit(str(error)) from error
        found.skipped[contender.name] = str(error).strip().splitlines()[-1]
        say(f"{contender.name} is left out: {found.skipped[contender.name]}")
        return
    found.costs.setdefault(contender.name, []).append(cost)
    say(f"{which} {contender.name}: {cost.cpu:.1f} s of CPU in {cost.wall:.1f} s")
    if contender.steady:
        steady = cost._replace(cpu=cost.noted * found.events / 1e6)
        found.costs.setdefault(f"{contender.name}, second half", []).append(steady)


def once(contender: Contender, url: str, events: int, per_record: int) -> Cost:
    """Run a contender once and check its rows.

    Raises:
        RuntimeError: it failed, or it lost or repeated an event.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = Path(folder)
        job = Job(url, directory, events, per_record)
        with open(directory / (contender.stdout or "stdout"), "wb") as stdout:
            cost = run(contender.command(job), directory, stdout=stdout, environment=contender.variables)
        if contender.steady:
            cost = cost._replace(noted=float((directory / "stdout").read_text().split()[-1]))
        if not contender.uncounted:
            _check_apart(directory, events)
    return cost


def _check_apart(directory: Path, events: int) -> None:
    """Check in a separate process, because a process starts with its parent's peak of memory."""
    checking = Process(target=check, args=(directory, events))
    checking.start()
    checking.join()
    if checking.exitcode:
        raise RuntimeError("it lost or repeated events: see the line above")


def check(directory: Path, events: int) -> None:
    """Check that a run wrote each event exactly once.

    Raises:
        SystemExit: it did not; the message counts rows and events.
    """
    ids: set[str] = set()
    rows = 0
    for name in event_ids(directory):
        ids.add(name)
        rows += 1
    if not rows == len(ids) == events:
        raise SystemExit(f"{events} events came to {rows} rows of {len(ids)} events")


def rows_of(kind: str, found: Runs) -> Iterator[dict[str, str]]:
    """Yield a row of the table for each contender."""
    for name, runs in found.costs.items():
        each = found.each(name)
        sink = name.rpartition(", ")[2] if name.startswith(("call-consumer", BASELINE)) else "jsonl"
        ratios = [found.ratio(name, other) for other in (LOOP, f"{BASELINE}, {sink}")]
        to_loop, to_baseline = ("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        yield {
            "": f"{name}, {kind}",
            "CPU µs per event": f"{median(each):.1f}",
            "range": f"{min(each):.1f}-{max(each):.1f}",
            "events/s": f"{median(found.events / cost.wall for cost in runs):,.0f}",
            "peak MB": f"{max(cost.memory for cost in runs):.0f}",
            "of the plain loop": to_loop,
            "of the baseline": to_baseline,
        }


def figures_of(kind: str, found: Runs) -> Iterator[Figure]:
    """Yield the ratios that have a bar or are worth a line. The bars hold for events of the default size."""
    index = int(kind != "plain")
    for (name, other), bars in {**BARS, **dict.fromkeys(SHOWN, None)}.items():
        ratio = found.ratio(name, other)
        if ratio is not None:
            bar = None if bars is None else bars[index]
            yield Figure(f"{name} / {other}, {kind}", ratio, "", bar, "CPU per event")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
