"""A sink that adds a suffix to the names of batches.

A batch of a replay may have the name of one that a worker wrote, and other rows: filters or a newer decoder made it. A
sink that recognises batches by name would take it for written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from consumer.sinks import Batch, Sink


@dataclass(frozen=True, slots=True)
class Named:
    """The same rows under another name."""

    name: str
    rows: Batch

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


class NamedSink:
    """Delegate to `sink`, with `suffix` at the end of each batch's name."""

    def __init__(self, sink: Sink, suffix: str) -> None:
        self._sink, self._suffix = sink, suffix
        self.limits, self.repeats = sink.limits, sink.repeats
        self.check, self.close = sink.check, sink.close

    def write(self, batch: Batch) -> int:
        return self._sink.write(Named(f"{batch.name}{self._suffix}", batch))

    def holds(self, name: str) -> bool:
        return self._sink.holds(f"{name}{self._suffix}")
