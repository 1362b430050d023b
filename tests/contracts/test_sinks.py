"""Hold every sink to its contract, including the simulation's, and test what only some sinks do."""

import os
import sqlite3
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.sinks import jsonl, sqlite, stdout
from consumer.testing import DEAD_LETTERS, ROWS, SinkContract, SinkPlace
from tests.contracts.places import PLACES, connect, part


class TestSinks(SinkContract):
    """The contract suite that is shipped for sinks of other packages."""

    @pytest.fixture(params=PLACES)
    def place(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
        return PLACES[request.param](tmp_path, monkeypatch)


@pytest.mark.parametrize("module", [jsonl, sqlite])
def test_dead_letters_are_readable_only_by_their_owner(module: object, tmp_path: Path) -> None:
    """Files have mode 0600 under any umask. A database that also has rows does, too."""
    scheme = "jsonl" if module is jsonl else "sqlite"
    rows, letters = (connect(module, f"{scheme}:{tmp_path}/x", c) for c in (ROWS, DEAD_LETTERS))
    for sink in (rows, letters):
        sink.check()
        sink.write(part([1]))
        sink.close()
    files = [file for file in tmp_path.rglob("*") if file.is_file() and (scheme == "sqlite" or "dead" in file.name)]
    assert files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_rows_and_dead_letters_of_one_batch_share_a_directory(tmp_path: Path) -> None:
    """Both use the same batch name, and neither is taken for the other."""
    rows, letters = (connect(jsonl, f"jsonl:{tmp_path}", c) for c in (ROWS, DEAD_LETTERS))
    assert letters.write(part([1])) == 0
    assert rows.write(part([2])) == 0
    assert len(list(tmp_path.rglob("*.jsonl"))) == 1, "dead letters are not for a reader of rows"
    assert len(list(tmp_path.rglob("*.dead-letters"))) == 1


def test_a_kill_in_the_middle_leaves_no_visible_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file appears whole or not at all, and the next process writes it."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    place = PLACES["jsonl"](tmp_path, monkeypatch)
    for name in ("fsync", "link"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, killed)
            patch.setattr(Path, "unlink", killed)
            with pytest.raises(Killed):
                place.open().write(part([1, 2]))
        assert place.seen() == []
    assert place.open().write(part([1, 2])) == 0
    assert place.seen() == [1, 2]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (jsonl, "jsonl:/dev/null/rows"),
        (sqlite, "sqlite:/dev/null/rows.db"),
        (jsonl, "jsonl:"),
        (sqlite, "sqlite:"),
        (stdout, "stdout:rows"),
    ],
)
def test_an_impossible_location_is_a_configuration_error(module: object, text: str) -> None:
    """It is found at the start."""
    with pytest.raises(ConfigurationError):
        connect(module, text).check()


def test_a_file_that_is_not_a_database_is_a_configuration_error(tmp_path: Path) -> None:
    """A table of another program is one, too."""
    (tmp_path / "rows.db").write_bytes(b"no database " * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        connect(sqlite, f"sqlite:{tmp_path}/rows.db").check()


def test_a_file_of_another_program_keeps_its_mode(tmp_path: Path) -> None:
    """A mistyped path must not make a file unreadable for others."""
    file = tmp_path / "theirs.txt"
    file.write_bytes(b"no database " * 100)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="not a database"):
        connect(sqlite, f"sqlite:{file}", DEAD_LETTERS).check()
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_read_only_table_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found at the start, although its contents are valid."""
    connect(sqlite, f"sqlite:{tmp_path}/rows.db").check()
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **given: real(name.replace("mode=rwc", "mode=ro"), **given))
    with pytest.raises(ConfigurationError, match="readonly"):
        connect(sqlite, f"sqlite:{tmp_path}/rows.db").check()


def test_a_path_is_read_as_typed_or_as_sqlalchemy_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes start a relative path, four an absolute one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for text in ("sqlite:///one.db", f"sqlite:///{tmp_path}/two.db", "sqlite:three.db", f"sqlite:{tmp_path}/deep/4.db"):
        connect(sqlite, text).check()
    assert sorted(file.name for file in tmp_path.rglob("*.db")) == ["4.db", "one.db", "three.db", "two.db"]
