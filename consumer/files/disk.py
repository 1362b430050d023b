"""What the file system answers, in an operator's words; and what makes a name in a folder last."""

import errno
import os
import secrets
from pathlib import Path

from consumer.errors import ConfigurationError, ConsumerError, Retryable

Identity = tuple[int, int]  # device and inode: the same as long as it is the same file
# Waiting does not help; an operator has to do something.
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
PROBE = 4096  # bytes; a name alone can be made on a disk that is full


def reason_of(error: Exception) -> str:
    """Return the operating system's reason, or the error's class. Never its text, which may quote what was written."""
    return getattr(error, "strerror", None) or type(error).__name__


def at_start(error: Exception, message: str, unavailable: type[Retryable]) -> ConsumerError:
    """Return the error that stands for `error` before anything was written: retry it, or tell the operator."""
    permanent = not isinstance(error, OSError) or error.errno in PERMANENT
    return ConfigurationError(message) if permanent else unavailable(message)


def identity_of(path: Path) -> Identity | None:
    """Return the identity of the file or folder of this name, or None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_block(folder: Path) -> None:
    """Write a real block to the folder's disk and flush it; nothing stays behind.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / f".probe.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.write(descriptor, os.urandom(PROBE)) < PROBE:  # of zeros some file systems store nothing
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
