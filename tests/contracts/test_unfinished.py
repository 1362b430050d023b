"""Remove unfinished files of killed writers, but only when no live writer can own them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.errors import SinkUnavailable
from consumer.sinks import jsonl, unfinished
from consumer.sinks.unfinished import AGE, Leftovers, created
from consumer.testing import DEAD_LETTERS
from tests.contracts.places import connect, interrupted, part

FOLDER = "dt=2026-01-01/hour=00"
# Write a batch endlessly, like a slow writer.
WRITER = """
import itertools, sys, time
from pathlib import Path
from consumer.sinks.jsonl import JsonlSink
class Endless:
    name = "dt=2026-01-01/hour=00/shard-1-2"
    def __len__(self): return 1
    def __iter__(self):
        print("writing", flush=True)
        time.sleep(60)
        yield
JsonlSink(Path(sys.argv[1])).write(Endless())
"""


def left(directory: Path) -> list[Path]:
    return list(directory.rglob("*.tmp"))


def age(path: Path, seconds: float = AGE + 1) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process in the middle of a file."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        [path] = left(tmp_path)
        age(path)
        yield process
        process.kill()


def test_the_file_of_a_killed_writer_is_removed_at_the_next_start(
    writer: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    """Its lock has ended with its process."""
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    connect(jsonl, f"jsonl:{tmp_path}").check()
    assert left(tmp_path) == []


def test_the_file_of_a_live_writer_stays_at_any_age(writer: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """A stopped process is alive, and may continue."""
    writer.send_signal(signal.SIGSTOP)
    sink = connect(jsonl, f"jsonl:{tmp_path}")
    sink.check()
    sink.write(part([1], f"{FOLDER}/shard-3-4"))
    assert len(left(tmp_path)) == 1
    writer.send_signal(signal.SIGCONT)


def planted(tmp_path: Path, name: str = ".shard-1-2.jsonl.0123.tmp", seconds: float = 0.0) -> Path:
    """Create a file without a lock, as earlier releases and other hosts leave it."""
    path = tmp_path / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{")
    age(path, seconds)
    return path


def test_a_young_unlocked_file_stays_and_is_removed_later(tmp_path: Path) -> None:
    """A writer on another host needs seconds, and its lock is not visible. A later write checks again."""
    path = planted(tmp_path)
    sink = connect(jsonl, f"jsonl:{tmp_path}")
    sink.check()
    sink.write(part([1], f"{FOLDER}/shard-3-4"))
    assert path.exists()
    age(path)
    sink.write(part([2], f"{FOLDER}/shard-5-6"))
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "name", [".shard-1-2.dead-letters.0123.tmp", ".shard-1-2.dead-letters.jsonl.0123.tmp", ".shard-1-2.jsonl.0.tmp"]
)
def test_leftovers_of_rows_and_dead_letters_of_all_releases_are_removed(tmp_path: Path, name: str) -> None:
    """Either sink removes them."""
    planted(tmp_path, name, AGE + 1)
    connect(jsonl, f"jsonl:{tmp_path}", DEAD_LETTERS).check()
    assert left(tmp_path) == []


def test_no_other_file_is_removed(tmp_path: Path) -> None:
    """Finished files and files of other programs stay."""
    names = ["shard-1-2.jsonl", "notes.tmp", ".hidden", "shard-1-2.dead-letters", ".shard-1-2.jsonl.0123"]
    for name in names:
        planted(tmp_path, name, 10 * AGE)
    connect(jsonl, f"jsonl:{tmp_path}").check()
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == sorted(names)


def test_a_writer_whose_file_was_removed_writes_it_again(tmp_path: Path) -> None:
    """The file cannot be linked, so the batch does not count as written."""
    sink = connect(jsonl, f"jsonl:{tmp_path}")
    sink.check()
    batch = part([1, 2])

    def remove() -> None:
        [unfinished_file] = left(tmp_path)
        unfinished_file.unlink()

    with pytest.raises(SinkUnavailable):
        sink.write(interrupted(batch, remove))
    assert sink.write(batch) == 0


def test_a_search_that_takes_too_long_has_checked_the_newest_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory may have years of folders. Folders in use are checked anyway."""
    monkeypatch.setattr(unfinished, "SWEEP_TIME", 0.0)
    for day in range(1, 4):
        path = tmp_path / f"dt=2026-01-0{day}" / ".x.tmp"
        path.parent.mkdir()
        path.touch()
        age(path)
    looked: list[Path] = []
    monkeypatch.setattr(Leftovers, "look_into", lambda _, folder: looked.append(folder))
    Leftovers(tmp_path).sweep()
    assert looked == [tmp_path]
    monkeypatch.setattr(unfinished, "SWEEP_TIME", 60.0)
    Leftovers(tmp_path).sweep()
    assert [folder.name for folder in looked[2:]] == ["dt=2026-01-03", "dt=2026-01-02", "dt=2026-01-01"]


def test_a_file_system_without_locks_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written, and leftovers stay, because their writers may live."""

    def refused(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(unfinished.fcntl, "flock", refused)  # type: ignore[attr-defined]
    path = planted(tmp_path, seconds=AGE + 1)
    sink = connect(jsonl, f"jsonl:{tmp_path}")
    sink.check()
    assert sink.write(part([1, 2])) == 0
    assert path.exists()


def test_dead_letters_with_their_old_name_count_as_written(tmp_path: Path) -> None:
    """An upgrade between the file and the checkpoint repeats none."""
    old = tmp_path / FOLDER / "shard-1-2.dead-letters.jsonl"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"{}\n")
    sink = connect(jsonl, f"jsonl:{tmp_path}", DEAD_LETTERS)
    sink.check()
    assert sink.write(part([1, 2], f"{FOLDER}/shard-1-2")) == 2
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_the_lock_is_held_until_the_file_has_its_name(tmp_path: Path) -> None:
    """Otherwise another worker could remove the file between its last byte and the link."""
    path = tmp_path / ".x.tmp"
    with created(path, 0o600):
        age(path)
        Leftovers(tmp_path).sweep()
        assert path.exists()
    Leftovers(tmp_path).sweep()
    assert not path.exists()
