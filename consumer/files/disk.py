"""Describe errors of the file system for operators, and make folder entries durable."""

import errno
import os
import secrets
from pathlib import Path

from consumer.errors import ConfigurationError, ConsumerError, Retryable

Identity = tuple[int, int]  # device and inode; two files that exist at the same time never share both
# Errors that only an operator can resolve: retrying does not help.
PERMANENT = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSYS,
    errno.ENOTDIR,
    errno.ENOTSUP,
    errno.EPERM,
    errno.EROFS,
    errno.EXDEV,
}
PROBE = 4096  # bytes; an empty file can be created even on a full disk


def reason_of(error: Exception) -> str:
    """Return the operating system's reason or the error's class, never its text: that may quote written data."""
    return getattr(error, "strerror", None) or type(error).__name__


def at_start(error: Exception, message: str, unavailable: type[Retryable]) -> ConsumerError:
    """Translate an error at the start: ConfigurationError if it is permanent, else `unavailable`."""
    permanent = not isinstance(error, OSError) or error.errno in PERMANENT
    return ConfigurationError(message) if permanent else unavailable(message)


def identity_of(path: Path) -> Identity | None:
    """Return the identity of a file or folder, or None if it does not exist."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def leads_to(path: Path, descriptor: int) -> bool:
    """Return whether the path leads to the open file."""
    found = os.fstat(descriptor)
    try:
        return os.path.samestat(os.stat(path), found)
    except (FileNotFoundError, NotADirectoryError):
        return False


def sync_folder(folder: Path) -> None:
    """Fsync a folder, so that its entries survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_block(folder: Path) -> None:
    """Write and fsync one block in the folder, then delete it.

    Raises:
        OSError: the block cannot be written.
    """
    path = folder / f".probe.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.write(descriptor, os.urandom(PROBE)) < PROBE:  # random: some file systems do not store zeros
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
