"""Compare the worker with other consumers of the same records, in turn and as whole processes.

Print a table, the ratios with their bars, and the cost of an idle worker. Exit with 1 if a run of the worker did not
write every event exactly once.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import environments, programs
from benchmarks.bars import idle
from benchmarks.comparison import BASELINE, Runs, compare, figures_of, rows_of, say
from benchmarks.contenders import SINKS, Contender, of_libraries, of_sinks, plain_loop
from benchmarks.environments import Unavailable
from benchmarks.events import SIZE
from benchmarks.figures import Figure, machine_line, write
from benchmarks.servers import server

KINDS = {"plain": 1, "aggregated": 20}


def contenders(given: argparse.Namespace, opened: ExitStack) -> Iterator[Contender]:
    """Yield what is to be compared and can be had here. Say in one line what cannot."""
    if given.peers:
        yield plain_loop()
        yield from _if_available("async-kinesis and the floors", of_libraries)
    if given.programs:
        yield from _if_available("the Go peer", programs.go)
        yield from _if_available("KCL in Java", lambda: programs.kcl(opened))
    yield from of_sinks([_served(sink, opened) for sink in given.sinks])
    if given.baseline:
        program = opened.enter_context(environments.commit(given.baseline))
        yield from of_sinks([sink for sink in given.sinks if sink in ("jsonl", "sqlite")], program, BASELINE)


def _served(sink: str, opened: ExitStack) -> str:
    """Return the sink. Start a PostgreSQL, which stops with `opened`, for `postgresql`."""
    return f"{opened.enter_context(server('postgresql'))}?schema={{schema}}" if sink == "postgresql" else sink


def _if_available(name: str, make: object) -> list[Contender]:
    assert callable(make)
    try:
        return list(make())
    except Unavailable as error:
        say(f"{name}: not available here. {error}")
        return []


def measure(given: argparse.Namespace) -> dict[str, Runs]:
    """Compare everything for each kind of records."""
    options = ["--answer", given.answer, "--size", given.size, "--latency", given.latency, "--throttle", given.throttle]
    if given.distinct:
        options += ["--distinct", given.distinct]
    with ExitStack() as opened:
        compared = list(contenders(given, opened))
        return {kind: compare(compared, given.runs, given.events, KINDS[kind], options) for kind in given.kinds}


def table(compared: dict[str, Runs]) -> Table:
    """Return a table of medians. Ratios are medians of the ratios of neighbouring runs."""
    rows = [row for kind, found in compared.items() for row in rows_of(kind, found)]
    shown = Table(*rows[0])
    for row in rows:
        shown.add_row(*row.values())
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--sinks", nargs="*", default=list(SINKS), help=f"of {', '.join(SINKS)} and postgresql, or a URL"
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="neither plain loop nor libraries")
    parser.add_argument("--programs", action="store_true", help="the Go peer and KCL in Java, too")
    parser.add_argument("--baseline", metavar="REVISION", default="", help="an older commit of this project, too")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch an idle worker")
    parser.add_argument("--answer", type=int, default=2000, help="maximum events per response of the stub")
    parser.add_argument("--size", type=int, default=SIZE, help="bytes per event")
    parser.add_argument("--distinct", type=int, help="events in the stub's memory; they repeat")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each response")
    parser.add_argument("--throttle", type=float, default=0.0, help="probability that a read is throttled")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


def report(compared: dict[str, Runs], idling: Sequence[Figure], path: Path | None) -> None:
    """Print the table and the figures, and write them to a file."""
    console = Console(width=130)
    figures = [figure for kind, found in compared.items() for figure in figures_of(kind, found)]
    if any(found.costs for found in compared.values()):
        console.print(table(compared))
    print(machine_line())
    for figure in [*figures, *idling]:
        print(figure.line())
    runs = {kind: json.loads(json.dumps(found.costs)) for kind, found in compared.items()}
    write(
        path,
        [*figures, *idling],
        table=[row for kind, found in compared.items() for row in rows_of(kind, found)],
        runs=runs,
    )


def main() -> None:
    """Measure and print."""
    given = _parser().parse_args()
    compared = measure(given) if given.runs else {}
    idling = list(idle(seconds=given.idle, baseline=None)) if given.idle else []
    report(compared, idling, given.json)


if __name__ == "__main__":
    main()
