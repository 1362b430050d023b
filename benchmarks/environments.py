"""Make the Python environments that a benchmark needs beside this one: for other libraries, and for an older commit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
REQUIREMENTS = ROOT / "requirements"


class Unavailable(Exception):
    """Something that a benchmark could measure cannot be had here. The message is one line."""


def last_line(error: BaseException) -> str:
    """Return the last line that a failed command printed, or the error."""
    printed = getattr(error, "stderr", None) or str(error)
    return printed.strip().splitlines()[-1] if printed.strip() else type(error).__name__


def command(words: Sequence[str | Path], cwd: Path = ROOT, **variables: str) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        Unavailable: the program is not there, or it failed.
    """
    try:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
            timeout=900,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{Path(words[0]).name}: {last_line(error)}") from error
    return done.stdout.strip()


def peers() -> Path:
    """Return the Python of the environment of requirements/bench.txt, and make it first if necessary."""
    lock = REQUIREMENTS / "bench.txt"
    python = BUILD / "venv" / "bin" / "python"
    done = BUILD / "venv" / "requirements.txt"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        _create(python.parents[1], [lock])
        shutil.copy(lock, done)
    return python


def _create(venv: Path, locks: Sequence[Path]) -> None:
    """Create an environment with locked requirements, and compile it: a start would else do it anew."""
    command([sys.executable, "-m", "venv", "--clear", venv])
    for lock in locks:
        _install(venv, "--no-deps", "--require-hashes", "-r", lock)
    _compile(venv / "bin" / "python", venv / "lib")


def _install(venv: Path, *options: str | Path) -> None:
    if shutil.which("uv"):
        command(["uv", "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"), *options])
    else:
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command([*pip, *options])


def _compile(python: Path, *folders: Path) -> None:
    command([python, "-m", "compileall", "-q", *folders], PYTHONDONTWRITEBYTECODE="")


@contextmanager
def commit(revision: str) -> Iterator[Path]:
    """Yield the `call-consumer` of an older commit, in a work tree with this checkout's locked requirements.

    Remove both at the end.

    Raises:
        Unavailable: the commit is unknown, or it cannot be installed.
    """
    name = command(["git", "rev-parse", "--short", f"{revision}^{{commit}}"])
    tree = BUILD / f"commit-{name}"
    _remove(tree)
    try:
        command(["git", "worktree", "add", "--quiet", "--detach", tree, name])
        venv = tree / ".venv"
        _create(venv, [REQUIREMENTS / "runtime.txt", REQUIREMENTS / "build.txt"])
        _install(venv, "--no-deps", "--no-build-isolation", "--editable", tree)
        _compile(venv / "bin" / "python", tree / "consumer", tree / "schemas")
        yield venv / "bin" / "call-consumer"
    finally:
        _remove(tree)


def _remove(tree: Path) -> None:
    if tree.exists():
        command(["git", "worktree", "remove", "--force", tree])
