"""The sink port: the interface through which rows and dead letters are written. One adapter per file.

All shards share a sink, so it must be thread-safe. Written data must be durable when `write` returns. The table of
schemes is in `consumer.adapters`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from consumer.records import BatchLimits


class Deduplication(Enum):
    """How a sink handles rows that are written again."""

    BY_ROW = "by-row"  # ignores each row that it already has
    BY_BATCH = "by-batch"  # recognises a whole batch by its name; see docs/guarantees.md#two-phase-checkpoints
    APPENDS = "appends"  # keeps duplicates


@dataclass(frozen=True, slots=True)
class SinkSchema:
    """The content of a sink: a name, the fields in order, the key fields, and whether it is private to its owner."""

    name: str
    fields: tuple[str, ...]
    key: tuple[str, ...]
    private: bool = False


class Item(Protocol):
    """A row or a dead letter to write. `line` is one JSON object in UTF-8 without a newline."""

    @property
    def line(self) -> bytes: ...


class Batch(Protocol):
    """Rows of one shard, in order, that are written together. They may be on disk: iterate once per write.

    `name` is a relative path without suffix, `dt=2026-11-24/hour=05/SHARD-FIRST-LAST`, from the last record's arrival
    in UTC. It is the same whenever the same records are delivered again.
    """

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...


class Sink(Protocol):
    """The interface that every sink implements."""

    limits: BatchLimits
    repeats: Deduplication

    def check(self) -> None:
        """Check that writing works, without leaving anything that a reader would see.

        Raises:
            ConfigurationError: writing cannot work until an operator changes something.
            SinkUnavailable: writing does not work now, but may work later.
        """
        ...

    def write(self, batch: Batch) -> int:
        """Write a batch durably. Return the number of its rows that the sink already had.

        Raises:
            SinkUnavailable: nothing or an unknown part is written; the caller writes the whole batch again.
            RowsRejected: the sink can never write the named rows; it wrote the rest.
            BatchRejected: the sink can never write some unknown row; it wrote nothing.
            OutputClosed: the reader of the output has ended.
        """
        ...

    def holds(self, name: str) -> bool:
        """Return whether the sink has the complete batch of this name. Only called if `repeats` is BY_BATCH.

        Raises:
            SinkUnavailable: the sink cannot tell now.
        """
        ...

    def close(self) -> None:
        """Close files and connections. All written rows are durable already."""
        ...
