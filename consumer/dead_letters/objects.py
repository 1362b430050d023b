"""Read the dead letters below a prefix of an object store, or in a `file:` directory."""

import gzip
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from consumer.aws.access import Accesses
from consumer.dead_letters import Report, StoredDeadLetter
from consumer.dead_letters.jsonl import LEDGER
from consumer.dead_letters.stored import NotADeadLetter, from_line
from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.sinks import SinkSchema
from consumer.sinks.objects.formats import formats_of
from consumer.sinks.objects.store import Store
from consumer.urls import Url, options_of

SCHEMA = SinkSchema("dead_letters", (), (), private=True)
SUFFIXES = tuple(formats_of(SCHEMA))
COMPRESSED = ".gz"
MODULES = {"s3": "s3", "gs": "gs", "az": "az", "file": "directory"}


class Options(BaseModel, extra="allow"):
    """The options of the sink with the same scheme; that one checks them."""


def connect(url: Url, options: Options, report: Report, accesses: Accesses | None = None) -> "ObjectLetters":
    """Return the dead letters of a place to which a worker wrote them.

    Raises:
        ConfigurationError: the URL or an option is wrong, or a library is missing.
    """
    module: Any = importlib.import_module(f"consumer.sinks.objects.{MODULES[url.scheme]}")
    more = (accesses or Accesses(),) if url.scheme == "s3" else ()
    if url.scheme == "file" and not Path(url.path).is_dir():
        raise ConfigurationError(f"{url.label} file:{url.path}: there is no such directory")
    sink = module.connect(url, options_of(url, module.Options), SCHEMA, *more)
    return ObjectLetters(sink.store, _ledger(url), report)


def _ledger(url: Url) -> Path:
    """Return a file in the directory, or in the working directory, because a store has no place for one."""
    if url.scheme == "file":
        return Path(url.path) / LEDGER
    place = f"{url.scheme}:{url.path.rstrip('/')}"
    return Path(f"redriven-{sha256(place.encode()).hexdigest()[:12]}.db")


class ObjectLetters:
    """Objects with dead letters, sorted by name. One object at a time is in memory."""

    def __init__(self, store: Store, ledger: Path, report: Report) -> None:
        self._store, self.ledger, self._report = store, ledger, report

    def letters(self) -> Iterator[StoredDeadLetter]:
        for name in self._names():
            for _, letter in self._read(name):
                if letter is not None:
                    yield letter

    def delete(self, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        """Replace each object by one without the chosen dead letters, or delete an object of which nothing is left."""
        return sum(self._delete_in(name, chosen) for name in self._names())

    def close(self) -> None:
        """Do nothing: connections end with the process."""

    def _names(self) -> list[str]:
        with _translating():
            return sorted(name for name in self._store.names() if name.endswith(SUFFIXES))

    def _read(self, name: str) -> list[tuple[bytes, StoredDeadLetter | None]]:
        """Return each line with its dead letter, or with None if it is none."""
        with _translating():
            content = self._store.read(name) or b""
        if name.endswith(COMPRESSED):
            content = self._decompressed(name, content)
        lines = content.splitlines(keepends=True)
        return [(line, self._letter(name, number, line)) for number, line in enumerate(lines, 1)]

    def _decompressed(self, name: str, content: bytes) -> bytes:
        try:
            return gzip.decompress(content)
        except (OSError, EOFError):
            self._report(f"{name}: not gzip: skipped")
            return b""

    def _letter(self, name: str, number: int, line: bytes) -> StoredDeadLetter | None:
        try:
            return from_line(line)
        except NotADeadLetter as error:
            if line.strip():
                self._report(f"{name}:{number}: {error}: skipped")
            return None

    def _delete_in(self, name: str, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        lines = self._read(name)
        kept = [line for line, letter in lines if letter is None or not chosen(letter)]
        if len(kept) == len(lines):
            return 0
        content = b"".join(kept)
        with _translating():
            self._store.replace(name, gzip.compress(content) if content and name.endswith(COMPRESSED) else content)
        return len(lines) - len(kept)


@contextmanager
def _translating() -> Iterator[None]:
    """A command does not retry: it ends with the reason."""
    try:
        yield
    except SinkUnavailable as error:
        raise ConfigurationError(str(error)) from None
