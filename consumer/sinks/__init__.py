"""The sink port: the interface through which rows and dead letters are written. One adapter per file.

All shards share a sink, so it must be thread-safe. Written data must be durable when `write` returns. The table of
schemes is in `consumer.adapters`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Protocol

import msgspec

from consumer.records import BatchLimits, Block

_NULL = msgspec.Raw(b"null")


class Deduplication(Enum):
    """How a sink handles rows that are written again."""

    BY_ROW = "by-row"  # ignores each row that it already has
    BY_BATCH = "by-batch"  # recognises a whole batch by its name; see docs/guarantees.md#two-phase-checkpoints
    APPENDS = "appends"  # keeps duplicates


@dataclass(frozen=True, slots=True)
class SinkSchema:
    """The content of a sink: a name, the fields in order, the key fields, and whether it is private to its owner.

    `json`: the fields that may hold any JSON value. `lists`: the fields that hold a list of strings, or None.
    `timeout`: seconds, less than a lease, in which each call to a server should end.
    """

    name: str
    fields: tuple[str, ...]
    key: tuple[str, ...]
    private: bool = False
    json: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    timeout: float = 8.0

    def rows(self, block: Block) -> Sequence[Any]:
        """Return the rows of a block as structs with `fields` as attributes, in this order. An absent field is None.

        The fields in `json` are `msgspec.Raw`: encoded JSON.
        """
        rows: Sequence[Any] = _decoder(self).decode_lines(block.lines)
        return rows


@cache
def _decoder(schema: SinkSchema) -> "msgspec.json.Decoder[Any]":
    types = [(name, msgspec.Raw, _NULL) if name in schema.json else (name, Any, None) for name in schema.fields]
    return msgspec.json.Decoder(msgspec.defstruct(schema.name, types, gc=False))


class Rows(Protocol):
    """Rows or dead letters of one shard, in order, that are written together: a batch, or a part of one.

    Iterate over their blocks once per write, because they may be on disk. `name` is a relative path without suffix,
    `dt=2026-11-24/hour=05/SHARD-FIRST-LAST`, from the last record's arrival in UTC. It is the same whenever the same
    records are delivered again.
    """

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Block]: ...


class Sink(Protocol):
    """The interface that every sink implements.

    `rejects_rows`: whether `write` may raise RowsRejected or BatchRejected. Only for such a sink, blocks keep the
    original bytes of each row, which its dead letter needs.
    """

    limits: BatchLimits
    repeats: Deduplication
    rejects_rows: bool

    def check(self) -> None:
        """Check that writing works, without leaving anything that a reader would see.

        Raises:
            ConfigurationError: writing cannot work until an operator changes something.
            SinkUnavailable: writing does not work now, but may work later.
        """
        ...

    def write(self, rows: Rows) -> int:
        """Write rows durably. Return the number of those that the sink already had.

        Raises:
            SinkUnavailable: nothing or an unknown part is written; the caller writes all of them again.
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


def suffix_of(sink: Sink) -> str:
    """Return the optional attribute `suffix` of a sink: the ending of its objects' names, such as `.parquet`, or "".

    It is stored before a batch is written. If it changes before the batch is checkpointed, `rows.name` already ends in
    the stored one, and so names the object that was prepared.
    """
    return str(getattr(sink, "suffix", ""))


def payload_of(sink: Sink) -> float:
    """Return the optional attribute `payload` of a sink: bytes in memory during a write, per byte of its rows."""
    return float(getattr(sink, "payload", 0.0))
