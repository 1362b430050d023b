"""Define the tables in PostgreSQL: types, comments, key and indexes, and how a table is recognised as ours.

A table's comment holds its version. Columns that others add are left alone if an INSERT may leave them out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from consumer.sinks import SinkSchema
from schemas.call_request import CallRequest
from schemas.dead_letter import DeadLetter

VERSION = 1  # of the tables; a change of them gets a new one, with statements that lead there
TIMES = {"event_time", "occurred_at", "requested_at", "responded_at", "arrived_at", "rejected_at"}
RAW = "event"  # the column that --raw fills; it always exists, so that --raw can be switched on later
PURPOSES = {"call_requests": "One row per Call API Request event", "dead_letters": "Events that could not become a row"}
# The indexes that the documented queries need, by the table's content: suffix and definition.
INDEXES: Mapping[str, Sequence[tuple[str, str]]] = {
    "call_requests": (
        ("occurred_at", "(occurred_at)"),
        ("resource_sid", "(resource_sid, occurred_at)"),
        ("errors", "(occurred_at) WHERE error_code IS NOT NULL"),
    ),
    "dead_letters": (("rejected_at", "(rejected_at)"),),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type, and what it holds."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the rows of a schema. `namespace` is what PostgreSQL calls its schema."""

    contents: SinkSchema
    namespace: str
    name: str

    @property
    def address(self) -> str:
        """Return the quoted name with its namespace."""
        return f"{quoted(self.namespace)}.{quoted(self.name)}"

    @property
    def columns(self) -> list[Column]:
        """Return the columns in order."""
        fields = dict.fromkeys([*self.contents.fields, *([RAW] if self.contents.name == "call_requests" else [])])
        return [_column(field) for field in fields]

    @property
    def comment(self) -> str:
        """Return the comment by which a table is recognised."""
        purpose = PURPOSES.get(self.contents.name, "Rows")
        return f"{purpose}. Written by call-consumer; {self.contents.name} version {VERSION}."

    def version_in(self, comment: str | None) -> int | None:
        """Return the version in a table's comment, or None if the table is not one of ours."""
        found = re.search(rf"call-consumer; {self.contents.name} version (\d{{1,9}})\.", comment or "")
        return int(found[1]) if found else None

    def problem_with(self, found: Mapping[str, tuple[str, bool]]) -> str:
        """Return what is wrong with the columns of a table, or "". They are given as name: (type, required)."""
        ours = {column.name: column.type for column in self.columns}
        for name, type_ in ours.items():
            if name not in found:
                return f"it lacks the column {name}"
            if found[name][0] != type_:
                return f"its column {name} has the type {found[name][0]} instead of {type_}"
        foreign = [name for name, (_, required) in found.items() if required and name not in ours]
        return f"its column {foreign[0]} is not ours and needs a default" if foreign else ""

    def ddl(self, *, with_namespace: bool) -> Iterator[str]:
        """Yield the statements that create the table. A table of the same name makes them fail."""
        if with_namespace:
            yield f"CREATE SCHEMA IF NOT EXISTS {quoted(self.namespace)}"
        key = ", ".join(self.contents.key)
        lines = [f"    {column.name} {column.type}{self._collation(column)}" for column in self.columns]
        yield f"CREATE TABLE {self.address} (\n" + ",\n".join([*lines, f"    PRIMARY KEY ({key})"]) + "\n)"
        for suffix, definition in INDEXES.get(self.contents.name, ()):
            yield f"CREATE INDEX {quoted(f'{self.name}_{suffix}')} ON {self.address} {definition}"
        yield f"COMMENT ON TABLE {self.address} IS {_literal(self.comment)}"
        for column in self.columns:
            yield f"COMMENT ON COLUMN {self.address}.{column.name} IS {_literal(column.comment)}"

    def _collation(self, column: Column) -> str:
        """Order keys by their bytes: this is fast, and an update of the system's locales cannot damage the index."""
        return ' COLLATE "C"' if column.type == "text" and column.name in self.contents.key else ""


def script(table: Table) -> str:
    """Return the statements that create a table, as a script for `psql`."""
    statements = "".join(f"{statement};\n" for statement in table.ddl(with_namespace=table.namespace != "public"))
    return f"-- {table.comment}\nBEGIN;\n{statements}COMMIT;\n"


def quoted(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@cache
def _column(field: str) -> Column:
    """Return the column for a field. A field that our schemas do not have is JSON."""
    if field == RAW:
        return Column(field, "jsonb", "The original event, with --raw.")
    hints = get_type_hints(CallRequest, include_extras=True) | get_type_hints(DeadLetter, include_extras=True)
    hint = hints.get(field)
    if hint is None:
        return Column(field, "jsonb", "")
    return Column(
        field, "timestamp with time zone" if field in TIMES else _type(hint), hint.__metadata__[0].description
    )


def _type(hint: Any) -> str:
    text = str(hint.__origin__)
    if "list" in text:
        return "text[]"
    if "Any" in text:
        return "jsonb"
    return "bigint" if "int" in text and "Literal" not in text else "text"
