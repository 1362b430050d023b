"""Batches of small rows, `{"id": 7, "value": "v"}`, to write to a sink in a test."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.records import Block
from consumer.sinks import Rows, SinkSchema

ROWS = SinkSchema("things", ("id", "value"), ("id",), json=("value",))
DEAD_LETTERS = SinkSchema("dead_things", ("id", "value"), ("id",), private=True, json=("value",))
BLOCK = 3  # rows of each block
NAME = "dt=2026-01-01/hour=00/shard-1-2"


@dataclass(frozen=True, slots=True)
class IteratedRows:
    """Rows that can only be iterated in blocks, as those on disk. `values` maps an id to a value other than "v"."""

    name: str
    ids: Sequence[int]
    values: Mapping[int, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Block]:
        for start in range(0, len(self.ids), BLOCK):
            lines = [self._line(number) for number in self.ids[start : start + BLOCK]]
            yield Block(b"".join(lines), len(lines), lines)

    def _line(self, number: int) -> bytes:
        row = {"id": number, "value": self.values.get(number, "v")}
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def make_batch(ids: Sequence[int], name: str = NAME, values: Mapping[int, Any] | None = None) -> Rows:
    """Return rows with these ids. `values` maps an id to a value other than "v"."""
    return IteratedRows(name, ids, values or {})
