"""A sink that adds a suffix to the names of batches.

A batch of a replay may have the name of one that a worker wrote, and other rows: filters or a newer decoder made it. A
sink that recognises batches by name would take it for written.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.records import Block
from consumer.sinks import Rows, Sink


@dataclass(frozen=True, slots=True)
class Named:
    """The same rows under another name."""

    name: str
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.rows)


class NamedSink:
    """Delegate to `sink`, with `suffix` at the end of each batch's name."""

    def __init__(self, sink: Sink, suffix: str) -> None:
        self._sink, self._suffix = sink, suffix
        self.limits, self.repeats, self.rejects_rows = sink.limits, sink.repeats, sink.rejects_rows
        self.check, self.close = sink.check, sink.close

    def write(self, rows: Rows) -> int:
        return self._sink.write(Named(f"{rows.name}{self._suffix}", rows))

    def holds(self, name: str) -> bool:
        return self._sink.holds(f"{name}{self._suffix}")
