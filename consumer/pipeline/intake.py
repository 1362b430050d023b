"""Decode records into a shard's buffer: blocks of rows, encoded dead letters, and counts.

The worker, the daemon's child and Lambda all use it, and deliver the buffer with `delivery`. They differ only in when.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from consumer.pipeline.batching import Buffer
from consumer.records import TRIM_HORIZON, Decoded, Position

T = TypeVar("T")


class Decode(Protocol[T]):
    """Take records from the front of a backlog until they make a number of rows, and decode them.

    Leave out user records up to and including a position. Take at least one record. Iterate the result once.
    """

    def __call__(self, backlog: deque[T], after: Position, rows: int, /) -> Iterable[Decoded]: ...


def fill(
    buffer: Buffer,
    decode: Decode[T],
    backlog: deque[T],
    now: float,
    after: Position = TRIM_HORIZON,
    until: Callable[[], bool] | None = None,
) -> None:
    """Decode records from `backlog` into `buffer` until it is full, or until `until` returns True instead.

    Finish an interrupted record first.

    Raises:
        SpoolUnavailable: the last record is partly added; call it again with the same arguments.
    """
    complete = until or buffer.full
    buffer.finish()
    while backlog and not complete():
        buffer.add(decode(backlog, after, buffer.room), now)
