"""Run storms over a fleet of real processes, and print a summary: `python -m tests.chaos --minutes 10`.

With `--kills N`, run N times ten kill -9 beside eight busy loops, each followed by one run that must find all events.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.fleet import Services
from tests.chaos.kills import kill_run
from tests.chaos.report import Report
from tests.chaos.storm import Storm
from tests.servers.dynamodb import dynamodb_local
from tests.servers.kinesis import kinesis_local

LONGEST = 300.0  # seconds of one storm: an emulated shard becomes slower as it fills


def storm(seed: int, seconds: float, sink: str, verbose: bool, keep: bool = False) -> Report:
    """Run one storm with separate servers. Keep the workers' output if a check failed, or if requested."""
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))

    def say(line: str) -> None:
        if verbose:
            print(line, flush=True)

    with kinesis_local() as kinesis, dynamodb_local() as dynamodb:
        report = Storm(seed, seconds, directory, Services(kinesis, dynamodb), sink, say).run()
    print(report, flush=True)
    if report.broken or keep:
        print(f"logs and rows: {directory}", flush=True)
    else:
        shutil.rmtree(directory)
    return report


def kills(seed: int, keep: bool) -> bool:
    """Run one set of kills with a separate server. Keep the workers' output if a check failed, or if requested."""
    directory = Path(tempfile.mkdtemp(prefix="kills-"))
    with kinesis_local() as kinesis:
        report = kill_run(seed, directory, kinesis)
    print(report, flush=True)
    if report.broken or keep:
        print(f"logs and rows: {directory}", flush=True)
    else:
        shutil.rmtree(directory)
    return not report.broken


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, in storms of 5 minutes at most")
    parser.add_argument("--seed", type=int, help="of the first storm; each after it has one more [default: random]")
    parser.add_argument("--sink", choices=["sqlite", "jsonl"], help="[default: by turns]")
    parser.add_argument("--quiet", action="store_true", help="print the summaries alone")
    parser.add_argument("--keep", action="store_true", help="keep the workers' logs and rows though nothing is broken")
    parser.add_argument("--kills", type=int, help="so many runs of ten kills on a starved machine, and no storm")
    arguments = parser.parse_args()
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    if arguments.kills is not None:
        return 0 if all([kills(seed + number, arguments.keep) for number in range(arguments.kills)]) else 1
    sinks = [arguments.sink] if arguments.sink else ["sqlite", "jsonl"]
    reports: list[Report] = []
    ends = time.monotonic() + 60 * arguments.minutes
    while (left := ends - time.monotonic()) > 1:
        sink = sinks[len(reports) % len(sinks)]
        print(f"seed {seed + len(reports)}, sink {sink}", flush=True)
        reports.append(storm(seed + len(reports), min(left, LONGEST), sink, not arguments.quiet, arguments.keep))
    broken = [report.seed for report in reports if report.broken]
    print(
        f"{len(reports)} storms, {sum(r.published for r in reports)} events published, {sum(r.rows for r in reports)}"
        f" rows, {sum(r.done['kill'] for r in reports)} kills; broken: {broken or 'none'}"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
