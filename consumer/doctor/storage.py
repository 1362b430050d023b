"""Check that rows, dead letters and leases can be written, also when the disk is full."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from consumer.doctor.checks import Finding, failed, ok
from consumer.errors import ConsumerError
from consumer.leases import Lease, LeaseTable
from consumer.sinks import Deduplication, Sink
from consumer.urls import parse

BLOCK = 1024 * 1024  # bytes; a full file system may still accept an empty or a small file
DUPLICATES = {
    Deduplication.BY_ROW: "stored once, row by row",
    Deduplication.BY_BATCH: "stored once, batch by batch",
    Deduplication.APPENDS: "stored twice",
}
REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space or choose another location",
    errno.EDQUOT: "the quota is used up: free some space or choose another location",
    errno.EFBIG: "the file size limit is too low: raise it (ulimit -f)",
    errno.EROFS: "the file system is read-only: choose another location",
    errno.EACCES: "this user may not write there: change the owner or mode, or choose another location",
}


def check_sink(sink: Sink) -> Iterator[Finding]:
    """Check the sink for rows."""
    sink.check()
    yield ok("sink", f"can be written; duplicates are {DUPLICATES[sink.repeats]}")


def check_dead_letters(sink: Sink) -> Iterator[Finding]:
    """Check the sink for dead letters."""
    sink.check()
    yield ok("dead letters", "can be written")


def check_leases(table: LeaseTable, rows: list[Lease]) -> Iterator[Finding]:
    """Check the lease table, name the rows that are skipped, and append the others to `rows`."""
    table.check()
    rows += table.scan()
    broken = [f"; {shard_id} is skipped: {why}" for shard_id, why in sorted(table.unreadable().items())]
    yield ok("leases", f"{len(rows)} rows" + "".join(broken))


def check_storage(what: str, check: Callable[[], Iterable[Finding]], folder: Path | None) -> Iterator[Finding]:
    """Run a check, then test the disk of `folder`, so that a full disk is named even when the check fails."""
    try:
        yield from check()
    except ConsumerError as error:
        yield failed(what, str(error))
    if folder is not None and folder.is_dir():
        yield from check_space(what, folder)


def folder_of(label: str, text: str) -> Path | None:
    """Return the local folder of a sink or lease table, or None if it has none."""
    url = parse(label, text)
    folders = {"jsonl": Path(url.path), "file": Path(url.path), "sqlite": Path(url.path).parent}
    return folders.get(url.scheme)


def check_space(what: str, folder: Path) -> Iterator[Finding]:
    """Write a block of test data to the disk of `folder`, and remove it."""
    path = folder / f".doctor.{secrets.token_hex(8)}.tmp"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            block = memoryview(os.urandom(BLOCK))  # random bytes, which no file system can compress
            while block:
                block = block[file.write(block) :]
            os.fsync(file.fileno())
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "check the disk or choose another location")
        yield failed(what, f"{folder}: cannot write {BLOCK // 1024} KiB: {error.strerror}: {remedy}")
    else:
        yield ok(what, f"{folder} has space for {BLOCK // 1024} KiB")
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
