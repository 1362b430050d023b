"""Write the generated parts of the documentation: `python docs/generate.py`; `--check` only compares.

A part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
"""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_type_hints

from consumer.cli import COMMANDS
from consumer.records import BatchLimits
from consumer.setting_values import written
from consumer.settings import PREFIX, Settings, flag
from consumer.sinks.jsonl import JsonlSink
from consumer.sinks.objects.sink import ObjectsSink
from consumer.sinks.postgresql import LIMITS as POSTGRESQL
from consumer.sinks.sqlite import SqliteSink
from consumer.sinks.stdout import StdoutSink
from schemas.call_request import CallRequest, WarningCode
from schemas.dead_letter import DeadLetter
from schemas.event_types import EVENT_TYPES

FOLDER = Path(__file__).parent
OBJECTS = ("s3://BUCKET/PREFIX", "gs://BUCKET/PREFIX", "az://CONTAINER/PREFIX", "file:DIR")
SINKS: dict[str, BatchLimits] = {
    "stdout:": StdoutSink.limits,
    "jsonl:DIR": JsonlSink.limits,
    "sqlite:FILE": SqliteSink.limits,
    "postgresql://…": POSTGRESQL,
    **dict.fromkeys(OBJECTS, ObjectsSink.limits),
}
REPEATS = {
    "stdout:": "duplicates are kept",
    "jsonl:DIR": "a batch that the directory has is recognised by its name",
    "sqlite:FILE": "a row that the table has is recognised by source, id and type",
    "postgresql://…": "a row that the table has is recognised by source, id and type",
    **dict.fromkeys(OBJECTS, "a batch that the store has is recognised by its name"),
}


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; `head` is its first line without the outer bars."""
    lines = [f"| {head} |", "|" + "---|" * len(head.split("|"))]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)])


def settings() -> str:
    """Return one line per setting: flag, variable, default, description."""
    return table("flag | environment | default | meaning", map(_setting, Settings.model_fields))


def _setting(name: str) -> list[str]:
    field = Settings.model_fields[name]
    shown = "`STREAM`" if name == "stream" else f"`{flag(name)}`"
    default = "" if field.default in (None, "", False) else f"`{written(field.default)}`"
    if name.startswith("batch_"):
        default = _limits(name)
    return [shown, f"`{PREFIX}{name.rstrip('_').upper()}`", default, str(field.description)]


def _limits(name: str) -> str:
    """Return a limit of every sink, such as "10 (`jsonl:`), 1 (`stdout:`, `sqlite:`)"."""
    sinks_of: dict[str, list[str]] = {}
    for sink, limits in SINKS.items():
        sinks_of.setdefault(_limit(name, limits), []).append(f"`{sink.partition(':')[0]}:`")
    return ", ".join(f"{limit} ({', '.join(sinks)})" for limit, sinks in sinks_of.items())


def _limit(name: str, limits: BatchLimits) -> str:
    return {
        "batch_rows": f"{limits.rows:,}",
        "batch_bytes": f"{limits.bytes >> 20}MiB",
        "batch_age": f"{limits.age:g}",
    }[name]


def sinks() -> str:
    """Return one line per sink: its batch limits and how it treats a repeated write."""
    names = ("batch_rows", "batch_bytes", "batch_age")
    return table(
        "sink | rows per batch | bytes per batch | seconds per batch | the same rows written again",
        ([f"`{sink}`", *(_limit(name, limits) for name in names), REPEATS[sink]] for sink, limits in SINKS.items()),
    )


def fields(shape: Any) -> str:
    """Return one line per field of a row or dead letter."""
    hints = get_type_hints(shape, include_extras=True)
    return table(
        "field | type | meaning", ([f"`{name}`", _type(hint), _described(name, hint)] for name, hint in hints.items())
    )


def _type(hint: Any) -> str:
    """Return the JSON type of a field in words."""
    text = str(hint.__args__[0] if hasattr(hint, "__metadata__") else hint)
    names = {"str": "text", "int": "number", "list": "list"}
    found = [word for key, word in names.items() if re.search(rf"\b{key}\b", text)]
    if "Literal" in text:
        found = ["text"]
    if "list" in found:
        found = ["list of text"]
    return " or ".join((found or ["any JSON"])[:1]) + (" or null" if "None" in text else "")


def _described(name: str, hint: Any) -> str:
    text = str(hint.__metadata__[0].description)
    return "Defects of the event; see [warnings](#warnings)." if name == "warnings" else text


def warnings() -> str:
    """Return one line per warning code."""
    return table("code | meaning", ([f"`{code.value}`", code.meaning] for code in WarningCode))


def event_types() -> str:
    """Return one line per event type that becomes a row."""
    return table(
        "event type | `resource` | `action`",
        ([f"`{n}`", f"`{t.resource}`", f"`{t.action}`"] for n, t in EVENT_TYPES.items()),
    )


def commands() -> str:
    """Return one line per command."""
    return table("command | what it does", ([f"`{name}`", text] for name, text in COMMANDS.items()))


def example(name: str, language: str) -> str:
    """Return a file of the example package as a code block."""
    text = (FOLDER.parent / "examples" / "csv_sink" / name).read_text("utf-8").strip()
    why = f"a copy of examples/csv_sink/{name}; tests/integration/test_custom_sink.py runs it"
    return f"<!-- not run: {why} -->\n```{language}\n{text}\n```"


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "sinks": sinks,
    "fields of a row": lambda: fields(CallRequest),
    "fields of a dead letter": lambda: fields(DeadLetter),
    "warnings": warnings,
    "event types": event_types,
    "commands": commands,
    "example sink": lambda: example("csv_sink/__init__.py", "python"),
    "example package": lambda: example("pyproject.toml", "toml"),
    "example test": lambda: example("test_csv_sink.py", "python"),
}


def generated(text: str) -> str:
    """Return a page's text with each generated part as it should be."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- generated: {name} -->\n\n{PARTS[name]()}\n\n<!-- end of {name} -->"

    return re.sub(r"<!-- generated: ([^>]+) -->\n.*?<!-- end of \1 -->", part, text, flags=re.DOTALL)


def main() -> int:
    """Write or check all pages; return the exit code."""
    outdated = []
    for page in sorted(FOLDER.rglob("*.md")):
        text = page.read_text("utf-8")
        if (new := generated(text)) != text:
            outdated.append(page)
            if "--check" not in sys.argv[1:]:
                page.write_text(new, "utf-8")
    if "--check" not in sys.argv[1:]:
        return 0
    for page in outdated:
        print(f"{page} is out of date: run make pages", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
