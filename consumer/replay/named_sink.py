"""A sink that adds text to the names of batches.

A batch of a replay may have the name of one that a worker wrote, and other rows: filters or a newer decoder made it. A
sink that recognises batches by name would take it for written.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.records import Block
from consumer.sinks import Rows, Sink, payload_of, suffix_of


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
    """Delegate to `sink`, with `added` in each batch's name: at its end, or before the suffix of an object."""

    def __init__(self, sink: Sink, added: str) -> None:
        self._sink, self._added = sink, added
        self.suffix, self.payload = suffix_of(sink), payload_of(sink)
        self.limits, self.repeats, self.rejects_rows = sink.limits, sink.repeats, sink.rejects_rows
        self.check, self.close = sink.check, sink.close

    def write(self, rows: Rows) -> int:
        return self._sink.write(Named(self._named(rows.name), rows))

    def holds(self, name: str) -> bool:
        return self._sink.holds(self._named(name))

    def _named(self, name: str) -> str:
        folder, slash, base = name.rpartition("/")
        stem, dot, suffix = base.partition(".")
        return f"{folder}{slash}{stem}{self._added}{dot}{suffix}"
