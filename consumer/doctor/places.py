"""Can the places be written to where rows, dead letters and leases go: also when they are full?"""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from consumer.doctor.questions import Finding, failed, ok
from consumer.errors import ConsumerError
from consumer.leases import Lease, LeaseTable
from consumer.sinks import Deduplication, Sink
from consumer.urls import parse

BLOCK = 1024 * 1024  # bytes; a full file system may still take an empty file, or a small one
REPEATED = {
    Deduplication.BY_ROW: "absorbed row by row",
    Deduplication.BY_BATCH: "absorbed batch by batch",
    Deduplication.APPENDS: "there twice",
}
REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, or name another place",
    errno.EDQUOT: "the quota is used up: free some space, or name another place",
    errno.EFBIG: "files may not become larger than this: raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only: name another place",
    errno.EACCES: "this user may not write there: change its owner or mode, or name another place",
}


def check_sink(sink: Sink) -> Iterator[Finding]:
    """Ask the sink of the rows."""
    sink.check()
    yield ok("sink", f"can be written; what is written twice is {REPEATED[sink.repeats]}")


def check_dead_letters(sink: Sink) -> Iterator[Finding]:
    """Ask the sink of the dead letters."""
    sink.check()
    yield ok("dead letters", "can be written")


def check_leases(table: LeaseTable, rows: list[Lease]) -> Iterator[Finding]:
    """Ask the lease table, name rows that are left alone, and keep the others in `rows`."""
    table.check()
    rows += table.scan()
    broken = [f"; {shard_id} is left alone: {why}" for shard_id, why in sorted(table.unreadable().items())]
    yield ok("leases", f"{len(rows)} rows" + "".join(broken))


def check_place(what: str, check: Callable[[], Iterable[Finding]], folder: Path | None) -> Iterator[Finding]:
    """Ask a place, and the disk that it is on, if any: a full one is named whatever the place says."""
    try:
        yield from check()
    except ConsumerError as error:
        yield failed(what, str(error))
    if folder is not None and folder.is_dir():
        yield from check_space(what, folder)


def folder_of(label: str, text: str) -> Path | None:
    """Return the folder on a disk that a place's files grow in, if it has one."""
    url = parse(label, text)
    folders = {"jsonl": Path(url.path), "sqlite": Path(url.path).parent}
    return folders.get(url.scheme)


def check_space(what: str, folder: Path) -> Iterator[Finding]:
    """Write a block to the folder's disk, as rows would be, and remove it."""
    path = folder / f".doctor.{secrets.token_hex(8)}.tmp"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            block = memoryview(os.urandom(BLOCK))  # no file system makes less of it
            while block:
                block = block[file.write(block) :]
            os.fsync(file.fileno())
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "look at the disk, or name another place")
        yield failed(what, f"{folder}: writing {BLOCK // 1024} KiB: {error.strerror}: {remedy}")
    else:
        yield ok(what, f"{folder} takes a block of {BLOCK // 1024} KiB")
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
