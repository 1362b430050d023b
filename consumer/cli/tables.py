"""Print tables: aligned columns for people, JSON lines for programs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import typer

Row = Mapping[str, object]


def print_rows(rows: Iterable[Row], as_json: bool) -> None:
    """Print one line per row. The columns of people are the first row's keys in capitals."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
    else:
        for line in aligned([{name: _text(value) for name, value in row.items()} for row in rows]):
            typer.echo(line)


def aligned(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a header and a line per row, with the columns aligned. Nothing for an empty table."""
    if not rows:
        return
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for row in ({name: name.replace("_", " ").upper() for name in names}, *rows):
        yield "  ".join(row[name].ljust(widths[name]) for name in names).rstrip()


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
