"""Read dead letters in every place that keeps them, and delete some."""

import sqlite3
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from tests.unit.dead_letters.letters import letter, opened, put

SCHEMES = ("jsonl", "sqlite")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_was_written_is_read(scheme: str, tmp_path: Path) -> None:
    """Every field, the bytes, and dead letters whose data was left out."""
    written = [letter(number, bytes([number, 0, 255])) for number in range(1, 8)]
    written.append(letter(8, sub_sequence_number=2, event_index=3, reason="invalid-event"))
    store = opened(put(scheme, tmp_path, written))
    assert sorted(store.letters(), key=lambda each: each.sequence) == written
    assert len({each.id for each in written}) == len(written)
    store.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_the_chosen_ones_are_deleted(scheme: str, tmp_path: Path) -> None:
    """A file of which nothing is left disappears."""
    store = opened(put(scheme, tmp_path, [letter(number) for number in range(1, 8)]))
    assert store.delete(lambda each: each.sequence in (2, 4, 5, 6)) == 4
    assert sorted(each.sequence for each in store.letters()) == [1, 3, 7]
    assert store.delete(lambda _: False) == 0
    if scheme == "jsonl":
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert len(files) == 2
        assert {file.stat().st_mode & 0o777 for file in files if file.name.endswith("-00000.dead-letters")} == {0o600}


def test_a_line_that_is_no_dead_letter_is_named_and_skipped(tmp_path: Path) -> None:
    """Its content is not shown, and a deletion keeps it."""
    url, told = put("jsonl", tmp_path, [letter(1)]), list[str]()
    [file] = tmp_path.rglob("*.dead-letters")
    file.write_bytes(b'{"reason": "+15550100001"}\n\n' + file.read_bytes() + b'{"torn')
    store = opened(url, told)
    assert [each.sequence for each in store.letters()] == [1]
    assert told == [f"{file}:{line}: not a dead letter: skipped" for line in (1, 4)]
    assert store.delete(lambda _: True) == 1
    assert file.read_bytes() == b'{"reason": "+15550100001"}\n\n{"torn'


def test_a_row_that_is_no_dead_letter_is_named_and_skipped(tmp_path: Path) -> None:
    """Another program may have changed the table."""
    url, told = put("sqlite", tmp_path, [letter(1), letter(2)]), list[str]()
    with sqlite3.connect(tmp_path / "letters.db") as connection:
        connection.execute("UPDATE dead_letters SET event_index = 'x' WHERE sequence_number = '1'")
    assert [each.sequence for each in opened(url, told).letters()] == [2]
    assert told == [f"{tmp_path}/letters.db: row 1 of dead_letters: not a dead letter: skipped"]


def test_files_of_earlier_releases_are_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    """A hidden file is not complete. Rows may be in the same directory."""
    url = put("jsonl", tmp_path, [letter(1), letter(2)])
    [file] = tmp_path.rglob("*.dead-letters")
    file.with_name(".b.dead-letters").write_bytes(file.read_bytes())
    file.with_name("rows.jsonl").write_text("{}\n")
    file.rename(file.with_name("a.dead-letters.jsonl"))
    assert [each.sequence for each in opened(url).letters()] == [1, 2]


def test_one_file_can_be_read_alone(tmp_path: Path) -> None:
    """Such as an exported one, of any name."""
    put("jsonl", tmp_path, [letter(1)])
    [file] = tmp_path.rglob("*.dead-letters")
    file.rename(tmp_path / "exported")
    assert [each.sequence for each in opened(f"jsonl:{tmp_path}/exported").letters()] == [1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("jsonl:missing", "no such directory"),
        ("sqlite:missing.db", "no such file"),
        ("sqlite:empty.db", "no table dead_letters"),
        ("sqlite:text", "not a database"),
        ("stdout:", "keeps none"),
        ("jsonl:.?x=1", "unknown option"),
    ],
)
def test_a_wrong_place_is_one_line(url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is created by a mistyped path."""
    monkeypatch.chdir(tmp_path)
    sqlite3.connect("empty.db").close()
    Path("empty.db").touch()
    Path("text").write_bytes(b"no database " * 100)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match=says):
        list(opened(url).letters())
    assert sorted(tmp_path.iterdir()) == before
