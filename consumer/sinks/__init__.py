"""The sink port: where rows go, and dead letters too. One adapter a file; `consumer.app` has the table of schemes.

A sink is shared by all shards, so it is thread-safe, and what it has written is durable when `write` returns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from consumer.records import BatchLimits


class Deduplication(Enum):
    """What a sink makes of the same rows written again."""

    BY_ROW = "by-row"  # absorbs each row it already has
    BY_BATCH = "by-batch"  # recognises a whole batch by its name; needs `prepare` (rule 7)
    APPENDS = "appends"  # writes them again


@dataclass(frozen=True, slots=True)
class SinkSchema:
    """What a sink is to hold: the name of it, its keys in order, which of them identify a line, and who may read it."""

    name: str
    fields: tuple[str, ...]
    key: tuple[str, ...]
    private: bool = False


class Item(Protocol):
    """One thing to write: `line` is one JSON object in UTF-8, without a newline. Rows and dead letters both are."""

    @property
    def line(self) -> bytes: ...


class Batch(Protocol):
    """What is written at once: all from one shard, in order. May lie on disk, so iterate it, once a write.

    `name` is relative, without a suffix, and the same whenever the same records are delivered again:
    `dt=2026-11-24/hour=05/SHARD-FIRST-LAST`, of the last record's arrival in UTC.
    """

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...


class Sink(Protocol):
    """Where a batch goes."""

    limits: BatchLimits
    repeats: Deduplication

    def check(self) -> None:
        """Find out whether writing can work, without leaving anything behind that a reader would see.

        Raises:
            ConfigurationError: it cannot, and waiting will not help.
            SinkUnavailable: not now.
        """
        ...

    def write(self, batch: Batch) -> int:
        """Write a batch; durable on return. Returns how many of its rows the sink already had.

        Raises:
            SinkUnavailable: nothing, or an unknown part, is written: write all of it again.
            RowsRejected: these rows never will be; the rest is written.
            BatchRejected: some row never will be, unknown which; nothing is written.
            OutputClosed: the reader is gone for good.
        """
        ...

    def holds(self, name: str) -> bool:
        """Return whether the batch of this name is there with every row, so none rejected.

        Asked only of a sink that recognises batches by name.

        Raises:
            SinkUnavailable: the sink cannot tell now.
        """
        ...

    def close(self) -> None:
        """Close files and connections; everything written is already durable."""
        ...
