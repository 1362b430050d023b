"""A list of rows or dead letters that lies on disk once it is large."""

import pickle
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import IO

import msgspec

from consumer.records import EventLocation, Row

# What is written and read at once.
BLOCK_ITEMS = 500
BLOCK_BYTES = 256 * 1024


class EncodedDeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter ready for its sink: `line` is its JSON."""

    line: bytes
    location: EventLocation


Item = Row | EncodedDeadLetter
Packed = tuple[bytes, EventLocation, int | None]  # line, location, and where a row's data is in the file


class Spool:
    """Items in order, in memory up to about `memory` bytes; None: any number of bytes."""

    def __init__(self, memory: int | None = None) -> None:
        self.memory: float = float("inf") if memory is None else memory
        self.size = 0  # bytes in memory
        self._items: list[Item] = []
        self._disk: _Disk | None = None

    def append(self, item: Item, size: int) -> None:
        """Add an item of about `size` bytes."""
        if self._disk is not None:
            self._disk.append(item)
            return
        self._items.append(item)
        self.size += size
        if self.size > self.memory:
            self.spill()

    def __len__(self) -> int:
        return len(self._items) if self._disk is None else len(self._disk)

    def between(self, start: int, stop: int) -> Iterator[Item]:
        """Iterate over items `start` to `stop`, not included."""
        return iter(self._items[start:stop]) if self._disk is None else self._disk.between(start, stop)

    def spill(self) -> None:
        """Move all to disk, and what is added from now on."""
        if self._disk is None:
            self._disk = _Disk()
            for item in self._items:
                self._disk.append(item)
            self._items, self.size = [], 0

    def close(self) -> None:
        """Forget everything."""
        if self._disk is not None:
            self._disk.close()
        self._items, self.size = [], 0


class _Disk:
    """Items in a temporary file, a block after the other; the bytes that rows of one array share are there once."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the spool
        self._blocks: list[tuple[int, int]] = []  # number of the first item, place in the file
        self._block: list[Packed] = []  # the one that is not written yet
        self._block_size = self._length = 0
        self._data: bytes | None = None  # of the last row
        self._data_at = -1

    def __len__(self) -> int:
        return self._length

    def append(self, item: Item) -> None:
        if isinstance(item, Row) and item.data is not self._data:
            self._data, self._data_at = item.data, self._file.seek(0, 2)
            pickle.dump(item.data, self._file)
        self._block.append((item.line, item.location, self._data_at if isinstance(item, Row) else None))
        self._length += 1
        self._block_size += len(item.line)
        if len(self._block) >= BLOCK_ITEMS or self._block_size >= BLOCK_BYTES:
            self._write_block()

    def between(self, start: int, stop: int) -> Iterator[Item]:
        self._write_block()
        first = bisect_right(self._blocks, start, key=itemgetter(0)) - 1
        for number, place in self._blocks[first:]:
            if number >= stop:
                return
            for packed in self._load(place)[max(start - number, 0) : stop - number]:
                yield self._unpacked(*packed)

    def close(self) -> None:
        self._file.close()

    def _write_block(self) -> None:
        if self._block:
            self._blocks.append((self._length - len(self._block), self._file.seek(0, 2)))
            pickle.dump(self._block, self._file)
            self._block, self._block_size = [], 0

    def _load(self, place: int) -> list[Packed]:
        self._file.seek(place)
        block: list[Packed] = pickle.load(self._file)
        return block

    def _unpacked(self, line: bytes, location: EventLocation, data_at: int | None) -> Item:
        if data_at is None:
            return EncodedDeadLetter(line, location)
        if data_at != self._data_at or self._data is None:
            self._file.seek(data_at)
            self._data, self._data_at = pickle.load(self._file), data_at
        return Row(line, location, self._data)
