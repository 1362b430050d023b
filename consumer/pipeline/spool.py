"""A list of rows or dead letters that moves to a temporary file when it is large."""

import os
import pickle
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import IO

import msgspec

from consumer.errors import SpoolUnavailable
from consumer.files.disk import reason_of
from consumer.records import EventLocation, Row

# The size of a block: so much is written and read at once.
BLOCK_ITEMS = 500
BLOCK_BYTES = 256 * 1024


class EncodedDeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter in the form for its sink: `line` is its JSON."""

    line: bytes
    location: EventLocation


Item = Row | EncodedDeadLetter
Extent = tuple[int, int]  # start and length in the file
Packed = tuple[bytes, EventLocation, Extent | None]  # line, location, and where the data of a row is in the file


class Spool:
    """Items in order, in memory up to about `memory` bytes. None means any number of bytes."""

    def __init__(self, memory: int | None = None) -> None:
        self.memory: float = float("inf") if memory is None else memory
        self.size = 0  # bytes in memory
        self._items: list[Item] = []
        self._disk: _Disk | None = None

    def append(self, item: Item, size: int) -> None:
        """Add an item of about `size` bytes.

        Raises:
            SpoolUnavailable: the item is added, but not on disk. Call `settle` before the next `append`.
        """
        if self._disk is not None:
            self._disk.append(item)
            return
        self._items.append(item)
        self.size += size
        if self.size > self.memory:
            self.spill()

    def settle(self) -> None:
        """Write to disk what a failed write left in memory. Do nothing if no write has failed.

        Raises:
            SpoolUnavailable: try again later.
        """
        if self._disk is not None:
            self._disk.settle()
        elif self.size > self.memory:
            self.spill()

    def __len__(self) -> int:
        return len(self._items) if self._disk is None else len(self._disk)

    def between(self, start: int, stop: int) -> Iterator[Item]:
        """Iterate over the items from `start` up to but not including `stop`.

        Raises:
            SpoolUnavailable: the file cannot be read now.
        """
        return iter(self._items[start:stop]) if self._disk is None else self._disk.between(start, stop)

    def spill(self) -> None:
        """Move all items to disk; later ones go there directly.

        Raises:
            SpoolUnavailable: all items are still in memory.
        """
        if self._disk is None:
            disk = _Disk()
            try:
                for item in self._items:
                    disk.append(item)
            except SpoolUnavailable:
                disk.close()
                raise
            self._disk, self._items, self.size = disk, [], 0

    def close(self) -> None:
        """Drop all items."""
        if self._disk is not None:
            self._disk.close()
        self._items, self.size = [], 0


class _Disk:
    """Items in a temporary file, in blocks. Data that the rows of one array share is written once.

    A block that cannot be written stays in memory, and the next attempt writes it to the same place.
    """

    def __init__(self) -> None:
        with _translating():
            self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the spool
        self._end = 0  # bytes that are completely written
        self._blocks: list[tuple[int, Extent]] = []  # number of the first item, place in the file
        self._block: list[Item] = []  # not written yet
        self._block_size = self._length = 0
        self._added: bytes | None = None  # the data of the row that was added last
        self._data: bytes | None = None  # the data written last
        self._data_place: Extent = (0, 0)
        self._read: bytes = b""  # the data read last
        self._read_place: Extent | None = None

    def __len__(self) -> int:
        return self._length

    def append(self, item: Item) -> None:
        if isinstance(item, Row) and item.data is not self._added:
            self._block_size += len(item.data)
            self._added = item.data
        self._block.append(item)
        self._length += 1
        self._block_size += len(item.line)
        self.settle()

    def settle(self) -> None:
        """Write the block if it is full."""
        if len(self._block) < BLOCK_ITEMS and self._block_size < BLOCK_BYTES:
            return
        before = self._end, self._data, self._data_place
        try:
            place = self._write(
                pickle.dumps([(item.line, item.location, self._place_of(item)) for item in self._block])
            )
        except SpoolUnavailable:
            self._end, self._data, self._data_place = before
            raise
        self._blocks.append((self._length - len(self._block), place))
        self._block, self._block_size = [], 0

    def between(self, start: int, stop: int) -> Iterator[Item]:
        first = bisect_right(self._blocks, start, key=itemgetter(0)) - 1
        for number, place in self._blocks[max(first, 0) :]:
            if number >= stop:
                return
            for packed in self._load(place)[max(start - number, 0) : stop - number]:
                yield self._unpacked(*packed)
        number = self._length - len(self._block)
        yield from self._block[max(start - number, 0) : max(stop - number, 0)]

    def close(self) -> None:
        self._file.close()

    def _place_of(self, item: Item) -> Extent | None:
        """Return where the data of a row is; write it first if it is not that of the row before."""
        if not isinstance(item, Row):
            return None
        if item.data is not self._data:
            self._data_place = self._write(item.data)
            self._data = item.data
        return self._data_place

    def _write(self, data: bytes) -> Extent:
        view, start = memoryview(data), self._end
        with _translating():
            while view:
                written = os.pwrite(self._file.fileno(), view, start + len(data) - len(view))
                view = view[written:]
        self._end += len(data)
        return start, len(data)

    def _load(self, place: Extent) -> list[Packed]:
        block: list[Packed] = pickle.loads(self._bytes_at(place))
        return block

    def _bytes_at(self, place: Extent) -> bytes:
        start, length = place
        parts = []
        with _translating():
            while length:
                part = os.pread(self._file.fileno(), length, start)
                if not part:
                    raise OSError("the file ends early")
                parts.append(part)
                start, length = start + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unpacked(self, line: bytes, location: EventLocation, place: Extent | None) -> Item:
        if place is None:
            return EncodedDeadLetter(line, location)
        if place == self._data_place and self._data is not None:
            return Row(line, location, self._data)
        if place != self._read_place:
            self._read, self._read_place = self._bytes_at(place), place
        return Row(line, location, self._read)


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolUnavailable(
            f"temporary directory {_directory()}: {reason_of(error)}: free space there, or restart with TMPDIR set to"
            " another directory"
        ) from None


def _directory() -> str:
    return tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")
