"""Read the dead-letter files in a `jsonl:` directory, or one file with dead letters."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel

from consumer.dead_letters import Report, StoredDeadLetter
from consumer.dead_letters.stored import NotADeadLetter, from_line
from consumer.errors import ConfigurationError
from consumer.files.disk import reason_of, sync_folder
from consumer.sinks.unfinished import SUFFIX, created
from consumer.urls import Url

SUFFIXES = (".dead-letters", ".dead-letters.jsonl")  # the second one is that of earlier releases
LEDGER = ".redriven.db"  # hidden from readers of rows and of dead letters


class Options(BaseModel, extra="forbid"):
    """This place has no options."""


def connect(url: Url, options: Options, report: Report) -> "JsonlStore":
    """Return the dead letters of a directory, or those of one file."""
    path = Path(url.path)
    if not url.path or not path.exists():
        raise ConfigurationError(f"{url.label} jsonl:{url.path}: there is no such directory or file")
    return JsonlStore(path, url.label, report)


class JsonlStore:
    """A directory with files of dead letters, sorted by path; or one file."""

    def __init__(self, path: Path, label: str, report: Report) -> None:
        self._path, self._named, self._report = path, f"{label} jsonl:{path}", report

    @property
    def ledger(self) -> Path:
        return self._path / LEDGER if self._path.is_dir() else self._path.with_name(f"{self._path.name}{LEDGER}")

    def letters(self) -> Iterator[StoredDeadLetter]:
        for file in self._files():
            for _, letter in self._read(file):
                if letter is not None:
                    yield letter

    def delete(self, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        """Replace each file by one without the chosen dead letters, or delete a file of which nothing is left."""
        return sum(self._delete_in(file, chosen) for file in self._files())

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _files(self) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        return sorted(
            Path(folder) / name
            for folder, _, names in os.walk(self._path, onerror=self._fail)
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".")
        )

    def _read(self, file: Path) -> Iterator[tuple[bytes, StoredDeadLetter | None]]:
        """Yield each line with its dead letter, or with None if it is none."""
        try:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield line, self._letter(file, number, line)
        except FileNotFoundError:  # deleted by another command since the files were listed
            return
        except OSError as error:
            self._fail(error)

    def _letter(self, file: Path, number: int, line: bytes) -> StoredDeadLetter | None:
        try:
            return from_line(line)
        except NotADeadLetter as error:
            if line.strip():
                self._report(f"{file}:{number}: {error}: skipped")
            return None

    def _delete_in(self, file: Path, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        flags = [letter is not None and chosen(letter) for _, letter in self._read(file)]
        if not any(flags):
            return 0
        try:
            if all(flags):
                file.unlink()
            else:
                self._rewrite(file, flags)
            sync_folder(file.parent)
        except (OSError, ValueError) as error:  # ValueError: another command replaced the file meanwhile
            self._fail(error)
        return sum(flags)

    def _rewrite(self, file: Path, deleted: list[bool]) -> None:
        """Write the other lines to a new file, which then replaces the old one at once."""
        unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}{SUFFIX}")
        try:
            with created(unfinished, 0o600) as descriptor, file.open("rb") as lines:
                with open(descriptor, "wb", closefd=False) as output:
                    output.writelines(line for line, gone in zip(lines, deleted, strict=True) if not gone)
                os.fsync(descriptor)
                unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)

    def _fail(self, error: Exception) -> NoReturn:
        where = f" ({name})" if (name := getattr(error, "filename", None)) else ""
        raise ConfigurationError(f"{self._named}: {reason_of(error)}{where}") from None
