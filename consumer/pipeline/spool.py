"""A list of blocks of rows or dead letters that moves to a temporary file when it is large."""

import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from consumer.errors import SpoolUnavailable
from consumer.files.disk import reason_of
from consumer.records import Block

Extent = tuple[int, int]  # start and length in the file
# The number of rows of a block, where its lines are, and where the user record of each of its rows is.
Packed = tuple[int, Extent, Sequence[Extent]]


class Spool:
    """Blocks in order, in memory up to about `memory` bytes. None means any number of bytes."""

    def __init__(self, memory: int | None = None) -> None:
        self.memory: float = float("inf") if memory is None else memory
        self.size = 0  # bytes in memory
        self._length = 0  # rows
        self._starts: list[int] = []  # the number of each block's first row
        self._blocks: list[Block] = []  # not on disk
        self._disk: _Disk | None = None

    def append(self, block: Block, size: int) -> None:
        """Add a block of about `size` bytes.

        Raises:
            SpoolUnavailable: the block is added, but not on disk. Call `settle` before the next `append`.
        """
        self._starts.append(self._length)
        self._length += len(block)
        self._blocks.append(block)
        self.size += size
        self.settle()

    def settle(self) -> None:
        """Write to disk what does not fit into memory, or what a failed write left there.

        Raises:
            SpoolUnavailable: try again later.
        """
        if self._disk is not None or self.size > self.memory:
            self.spill()

    def __len__(self) -> int:
        return self._length

    def between(self, start: int, stop: int) -> Iterator[Block]:
        """Iterate over the rows from `start` up to but not including `stop`, in blocks. Only `data` gives their data.

        Raises:
            SpoolUnavailable: the file cannot be read now.
        """
        for index in range(bisect_right(self._starts, start) - 1, len(self._starts)):
            first = self._starts[index]
            if first >= stop:
                return
            block = self._block(index)
            yield block.part(max(start - first, 0), min(stop - first, len(block)))

    def data(self, number: int) -> bytes:
        """Return the user record of a row.

        Raises:
            SpoolUnavailable: the file cannot be read now.
        """
        index = bisect_right(self._starts, number) - 1
        row = number - self._starts[index]
        if self._disk is not None and index < len(self._disk):
            return self._disk.data(index, row)
        return self._blocks[index - self._written].data[row]

    @property
    def _written(self) -> int:
        return 0 if self._disk is None else len(self._disk)

    def _block(self, index: int) -> Block:
        if self._disk is not None and index < len(self._disk):
            return self._disk.block(index)
        return self._blocks[index - self._written]

    def spill(self) -> None:
        """Move all blocks to disk; later ones go there directly.

        Raises:
            SpoolUnavailable: those that are not on disk yet are still in memory.
        """
        if self._disk is None:
            self._disk = _Disk()
        while self._blocks:
            self._disk.append(self._blocks[0])
            del self._blocks[0]
        self.size = 0

    def close(self) -> None:
        """Drop all blocks."""
        if self._disk is not None:
            self._disk.close()
        self._blocks, self._starts, self._length, self.size = [], [], 0, 0


class _Disk:
    """Blocks in a temporary file. Data that the rows of one array share is written once."""

    def __init__(self) -> None:
        with _translating():
            self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the spool
        self._end = 0  # bytes that are completely written
        self._packed: list[Packed] = []
        self._data: bytes | None = None  # the data written or read last
        self._data_place: Extent = (0, 0)

    def __len__(self) -> int:
        return len(self._packed)

    def append(self, block: Block) -> None:
        """Write a block. If that fails, the next attempt writes it to the same place."""
        before = self._end, self._data, self._data_place
        try:
            self._packed.append((len(block), self._write(block.lines), [self._place_of(data) for data in block.data]))
        except SpoolUnavailable:
            self._end, self._data, self._data_place = before
            raise

    def block(self, index: int) -> Block:
        """Return a block without data."""
        count, lines, _ = self._packed[index]
        return Block(self._bytes_at(lines), count)

    def data(self, index: int, row: int) -> bytes:
        """Return the user record of a row of a block. Rows of one array share it."""
        place = self._packed[index][2][row]
        if self._data is None or place != self._data_place:
            self._data, self._data_place = self._bytes_at(place), place
        return self._data

    def close(self) -> None:
        self._file.close()

    def _place_of(self, data: bytes) -> Extent:
        """Return where the data of a row is; write it first if it is not that of the row before."""
        if data is not self._data:
            self._data_place = self._write(data)
            self._data = data
        return self._data_place

    def _write(self, data: bytes) -> Extent:
        view, start = memoryview(data), self._end
        with _translating():
            while view:
                written = os.pwrite(self._file.fileno(), view, start + len(data) - len(view))
                view = view[written:]
        self._end += len(data)
        return start, len(data)

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
    """Return the directory that the library chose, or the first that it tries without TMPDIR."""
    return tempfile.tempdir or "/tmp"
