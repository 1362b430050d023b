"""What every sink promises: one suite over all adapters, the simulation's included."""

import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError, RowsRejected, SinkUnavailable
from consumer.sinks import Deduplication, jsonl, sqlite, stdout
from tests.contracts.places import CONTENTS, PLACES, PRIVATE, SinkPlace, chunk, connect


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
    return PLACES[request.param](tmp_path, monkeypatch)


@pytest.fixture(params=[name for name in PLACES if not name.startswith("simulated")])
def real_place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
    return PLACES[request.param](tmp_path, monkeypatch)


def test_what_is_written_is_there_when_write_returns(place: SinkPlace) -> None:
    """Nothing waits for close: another reader finds it, and so does one after a crash."""
    sink = place.open()
    sink.check()
    assert sink.write(chunk([1, 2, 3])) == 0
    assert place.seen() == [1, 2, 3]


def test_check_leaves_nothing_that_a_reader_would_see(place: SinkPlace) -> None:
    """It may be asked again and again, by a doctor too."""
    for _ in range(2):
        sink = place.open()
        sink.check()
        sink.close()
    assert place.seen() == []


def test_a_batch_written_again_by_another_process_is_taken_as_declared(place: SinkPlace) -> None:
    """BY_ROW and BY_BATCH say how much they had; APPENDS says none."""
    first, second = place.open(), place.open()
    first.check()
    second.check()
    first.write(chunk([1, 2]))
    repeated = second.write(chunk([1, 2]))
    absorbed = first.repeats is not Deduplication.APPENDS
    assert repeated == (2 if absorbed else 0)
    assert place.seen() == ([1, 2] if absorbed else [1, 2, 1, 2])


def test_known_rows_in_a_batch_of_another_name_are_taken_as_declared(place: SinkPlace) -> None:
    """Only BY_ROW knows a row again."""
    sink = place.open()
    sink.check()
    sink.write(chunk([1, 2], name="dt=2026-01-01/hour=00/shard-1-2"))
    repeated = sink.write(chunk([2, 3], name="dt=2026-01-01/hour=00/shard-2-3"))
    by_row = sink.repeats is Deduplication.BY_ROW
    assert repeated == (1 if by_row else 0)
    assert Counter(place.seen()) == Counter([1, 2, 3] if by_row else [1, 2, 2, 3])


def test_after_trouble_the_same_batch_is_simply_written_again(place: SinkPlace) -> None:
    """SinkUnavailable while it lasts; then all of it is there, once unless the sink appends."""
    sink = place.open()
    sink.check()
    batch = chunk(range(1, 6))
    with place.trouble():
        for _ in range(2):
            with pytest.raises(SinkUnavailable):
                sink.write(batch)
    sink.write(batch)
    seen = place.seen()
    assert set(seen) == {1, 2, 3, 4, 5}
    if sink.repeats is not Deduplication.APPENDS:
        assert len(seen) == 5


def test_many_threads_write_at_once(real_place: SinkPlace) -> None:
    """All shards share a sink; no line is torn and none is missing."""
    sink = real_place.open()
    sink.check()
    batches = [chunk(range(n * 100, n * 100 + 100), f"dt=2026-01-01/hour=00/shard-{n}") for n in range(8)]
    threads = [threading.Thread(target=sink.write, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(real_place.seen()) == list(range(800))


def test_rows_that_never_will_be_are_named_and_the_rest_is_written(place: SinkPlace) -> None:
    """They are counted from the beginning of the batch, however it is read; their values are not in the error."""
    if place.unstorable is None:
        pytest.skip("it takes whatever is a line")
    sink = place.open()
    sink.check()
    sink.write(chunk([7]))
    with pytest.raises(RowsRejected) as raised:
        sink.write(chunk(range(2500), row_2001=place.unstorable))
    assert set(raised.value.rejected) == {2001}
    assert str(place.unstorable) not in raised.value.rejected[2001]
    assert raised.value.repeated == 1
    assert set(place.seen()) == set(range(2500)) - {2001}


def test_a_batch_larger_than_memory_is_read_from_disk_piece_by_piece(real_place: SinkPlace) -> None:
    """A batch is iterated, never indexed or held as a whole."""
    sink = real_place.open()
    sink.check()
    sink.write(chunk(range(5000)))
    assert real_place.seen() == list(range(5000))


@pytest.mark.parametrize("module", [jsonl, sqlite])
def test_dead_letters_are_for_their_owner_alone(module: object, tmp_path: Path) -> None:
    """Files are mode 0600, whatever the umask; a database shared with rows too."""
    scheme = "jsonl" if module is jsonl else "sqlite"
    rows, letters = (connect(module, f"{scheme}:{tmp_path}/x", c) for c in (CONTENTS, PRIVATE))
    for sink in (rows, letters):
        sink.check()
        sink.write(chunk([1]))
        sink.close()
    files = [file for file in tmp_path.rglob("*") if file.is_file() and (scheme == "sqlite" or "dead" in file.name)]
    assert files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_rows_and_dead_letters_of_one_batch_share_a_directory(tmp_path: Path) -> None:
    """The same batch name twice: neither is taken for the other."""
    rows, letters = (connect(jsonl, f"jsonl:{tmp_path}", c) for c in (CONTENTS, PRIVATE))
    assert letters.write(chunk([1])) == 0
    assert rows.write(chunk([2])) == 0
    assert len(list(tmp_path.rglob("*.jsonl"))) == 1, "dead letters are not for a reader of rows"
    assert len(list(tmp_path.rglob("*.dead-letters"))) == 1


def test_a_kill_in_the_middle_leaves_no_file_that_a_reader_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file appears whole or not at all; the next process writes it."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    place = PLACES["jsonl"](tmp_path, monkeypatch)
    for name in ("fsync", "link"):
        with monkeypatch.context() as patch:
            patch.setattr(jsonl.os, name, killed)  # type: ignore[attr-defined]
            patch.setattr(Path, "unlink", killed)
            with pytest.raises(Killed):
                place.open().write(chunk([1, 2]))
        assert place.seen() == []
    assert place.open().write(chunk([1, 2])) == 0
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
def test_a_place_that_cannot_be_is_an_operators_matter(module: object, text: str) -> None:
    """Found at the start, in words."""
    with pytest.raises(ConfigurationError):
        connect(module, text).check()


def test_a_file_that_is_no_database_is_an_operators_matter(tmp_path: Path) -> None:
    """So is a table that somebody else made."""
    (tmp_path / "rows.db").write_bytes(b"no database " * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        connect(sqlite, f"sqlite:{tmp_path}/rows.db").check()


def test_a_file_of_somebody_elses_keeps_its_mode(tmp_path: Path) -> None:
    """A mistyped path must not shut others out of their file."""
    file = tmp_path / "theirs.txt"
    file.write_bytes(b"no database " * 100)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="not a database"):
        connect(sqlite, f"sqlite:{file}", PRIVATE).check()
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_table_that_can_only_be_read_is_an_operators_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found at the start, though everything in it is as it should be."""
    connect(sqlite, f"sqlite:{tmp_path}/rows.db").check()
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **given: real(name.replace("mode=rwc", "mode=ro"), **given))
    with pytest.raises(ConfigurationError, match="readonly"):
        connect(sqlite, f"sqlite:{tmp_path}/rows.db").check()


def test_relative_and_absolute_paths_as_sqlalchemy_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes are relative, four absolute; without any the path is as typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for text in ("sqlite:///one.db", f"sqlite:///{tmp_path}/two.db", "sqlite:three.db", f"sqlite:{tmp_path}/deep/4.db"):
        connect(sqlite, text).check()
    assert sorted(file.name for file in tmp_path.rglob("*.db")) == ["4.db", "one.db", "three.db", "two.db"]
