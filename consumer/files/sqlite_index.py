"""Read the index of a SQLite database in WAL mode: the -shm file (https://sqlite.org/walformat.html)."""

import struct
from dataclasses import dataclass

INDEX = 136  # bytes: two copies of the header, then the state of checkpoints
_HEADER = struct.Struct("=IIIBBHIIII8s8s")  # … page size, frames, pages, checksum of the last frame, salts, …
_BACKFILLED, _ATTEMPTED = 96, 128  # where the number of frames in the database is: copied, and about to be copied


@dataclass(frozen=True, slots=True)
class Index:
    """What the -shm file says."""

    page_size: int
    frames: int
    pages: int  # of the database
    checksum: bytes
    salts: bytes
    backfilled: int
    attempted: int

    @property
    def checkpoint(self) -> tuple[bytes, int, int]:
        """Return a value that is different after each checkpoint."""
        return self.salts, self.backfilled, self.attempted


@dataclass(frozen=True, slots=True)
class Look:
    """The files at one time. `index` is None when it cannot be read now."""

    main: tuple[int, bytes, int]  # size, header, and time of the last change in nanoseconds
    wal_size: int
    shm_size: int
    index: Index | None
    whole: bool  # whether the -wal file ends as the index says


def index_of(raw: bytes) -> Index | None:
    """Parse the index. Return None while it is being written."""
    if len(raw) < INDEX or raw[:48] != raw[48:96]:
        return None
    _, _, _, _, _, size, frames, pages, one, two, salts, _ = _HEADER.unpack_from(raw)
    backfilled, attempted = (struct.unpack_from("=I", raw, at)[0] for at in (_BACKFILLED, _ATTEMPTED))
    page_size = (size & 0xFE00) + ((size & 1) << 16)
    return Index(page_size, frames, pages, struct.pack(">II", one, two), salts, backfilled, attempted)


def may_have_written(before: Index | None, now: Index | None) -> bool:
    """Return whether a checkpoint may have written the database between two looks, or may be doing so now."""
    if before is None or now is None or before.checkpoint != now.checkpoint:
        return True
    return now.backfilled != now.attempted


def has_another_size(look: Look) -> bool:
    """Return whether the size is wrong. It is known when the database holds all frames of the -wal file."""
    index = look.index
    if index is None or not index.pages or index.frames != index.backfilled:
        return False
    return look.main[0] != index.pages * index.page_size
