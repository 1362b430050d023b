"""Batches of small rows, `{"id": 7, "value": "v"}`, to write to a sink in a test."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.records import EventLocation, Row
from consumer.sinks import Batch, SinkSchema

ROWS = SinkSchema("things", ("id", "value"), ("id",))
DEAD_LETTERS = SinkSchema("dead_things", ("id", "value"), ("id",), private=True)
NAME = "dt=2026-01-01/hour=00/shard-1-2"


@dataclass(frozen=True, slots=True)
class IteratedBatch:
    """A batch that can only be iterated, as one that is on disk. `values` maps an id to a value other than "v"."""

    name: str
    ids: Sequence[int]
    values: Mapping[int, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Row]:
        for number in self.ids:
            line = json.dumps({"id": number, "value": self.values.get(number, "v")}).encode()
            yield Row(line, EventLocation("stream", "shard", number, 0, 0, "key", 0.0), line)


def make_batch(ids: Sequence[int], name: str = NAME, values: Mapping[int, Any] | None = None) -> Batch:
    """Return a batch of rows with these ids. `values` maps an id to a value other than "v"."""
    return IteratedBatch(name, ids, values or {})
