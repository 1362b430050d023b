"""Each code block of README and docs says whether it is run, and what is run does what the page says."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, _blocks, blocks, indented, matches
from tests.docs.commands import CHECKS, PRINTED
from tests.needs import need

STUB = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\036'; } >> "$CALLS"
echo "$PRINTED"
"""
REAL = ("cat", "openssl")  # commands that a stubbed block really runs
TUTORIAL_PORT = "4566"  # replaced by a free one


def marked(mark: str) -> list[Path]:
    """Return the pages that have a block with this mark."""
    return [page for page in PAGES if any(block.mark == mark for block in blocks(page))]


def named(page: Path) -> str:
    """Return a page's path for a test's name."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_code_block_is_marked(page: Path) -> None:
    """As run, stubbed or not run, the last with a reason; indentation makes no block."""
    assert indented(page) == []
    wrong = [str(b) for b in blocks(page) if not b.mark or (b.mark == "not run" and not b.detail)]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("```sh\nls\n```\n", ""),
        ("<!-- run -->\n```sh\nls\n```\n", "run"),
        ("<!-- run -->\n\n```sh\nls\n```\n", ""),
        ("1. x\n\n   <!-- not run: why -->\n   ```sh\n   ls\n   ```\n", "not run"),
        ("<!-- not running -->\n```sh\nls\n```\n", ""),
    ],
)
def test_a_mark_stands_right_before_its_block(text: str, mark: str) -> None:
    """Inside a list it is indented like the block."""
    [block] = _blocks(ROOT / "README.md", text)
    assert (block.mark, block.text) == (mark, "ls\n")


def test_a_block_by_indentation_is_found(tmp_path: Path) -> None:
    """Text that continues an item of a list is none."""
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n    ls\n\n- item\n\n    more of the item\n", "utf-8")
    assert indented(page) == [3]


def scratch(folder: Path) -> Path:
    """Fill a folder with links to the checkout's files, so that a page's relative paths work."""
    for path in ROOT.iterdir():
        if path.name not in ("build", "dist", ".git", "call-consumer.db", "dead-letters"):
            (folder / path.name).symlink_to(path)
    return folder


def environment(*folders: Path, **added: str) -> dict[str, str]:
    """Return an environment without settings or credentials of this machine."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CALL_CONSUMER_"))}
    path = os.pathsep.join([*map(str, folders), str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    return {**kept, "PATH": path, "AWS_EC2_METADATA_DISABLED": "true", **added}


def bash(script: str, folder: Path, variables: Mapping[str, str], timeout: float = 400.0) -> str:
    """Run a script to its end, and end what it leaves behind. Return its output; it must succeed."""
    with subprocess.Popen(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed
    return printed


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def as_script(block: Block) -> str:
    """Return the shell text of a block that is run."""
    if block.language == "python":
        python = ROOT / "build" / "site" / "venv" / "bin" / "python"
        need(python.exists(), "make site")
        return f"{python} - <<'PYTHON'\n{block.text}PYTHON\n"
    return block.text


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=named(page), marks=pytest.mark.xdist_group(named(page))) for page in marked("run")]
)
def test_what_a_page_runs_works_and_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    """One shell for all blocks of the page, from top to bottom."""
    script, shown = "", []
    for number, block in enumerate(b for b in blocks(page) if b.mark == "run"):
        if not block.detail:
            last = number
            script += f"echo '\x1e{number}'\n{as_script(block)}\n"
        elif block.detail == "output":
            shown.append((last, block))
        else:
            script += f"echo '\x1e{number}'\n{block.detail.removeprefix('output of ')}\n"
            shown.append((number, block))
    for tool in ("curl", "sqlite3"):
        need(tool not in script or shutil.which(tool) is not None, tool)
    printed = bash(script.replace(TUTORIAL_PORT, str(free_port())), scratch(tmp_path), environment())
    parts = {int(n): text for n, _, text in (part.partition("\n") for part in printed.split("\x1e")[1:])}
    for number, block in shown:
        assert matches(block.text, parts[number]), f"{block}:\n{parts[number]}"


@pytest.mark.parametrize("page", marked("stubbed"), ids=named)
def test_the_commands_of_a_page_exist_with_their_arguments(page: Path, tmp_path: Path) -> None:
    """Stubs take the arguments as the shell passes them on."""
    calls = tmp_path / "calls"
    stubs, folder = tmp_path / "stubs", tmp_path / "checkout"
    stubs.mkdir()
    folder.mkdir()
    for name in CHECKS:
        (stubs / name).write_text(STUB.replace("$PRINTED", PRINTED.get(name, "").replace('"', '\\"')), "utf-8")
        (stubs / name).chmod(0o755)
    for name in REAL:
        (stubs / name).symlink_to(str(shutil.which(name)))
    script = "\n".join(block.text for block in blocks(page) if block.mark == "stubbed")
    bash(script, scratch(folder), {"PATH": str(stubs), "CALLS": str(calls)})  # an unknown command fails
    for call in calls.read_text("utf-8").split("\x1e")[:-1]:
        name, *arguments = call.split("\0")[:-1]
        try:
            CHECKS[name](arguments, folder)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{named(page)}: {shlex.join([name, *arguments])}: {error}")


@pytest.mark.parametrize(
    "command",
    [
        "call-consumer run twilio-events --batch-row 5",
        "call-consumer run twilio-events --from yesterday",
        "call-consumer walk twilio-events",
        "make tset",
        "make soak MINUTE=3",
        "aws kinesis create-streams --stream-name a",
        "aws kinesis create-stream --stream a",
        "aws kinesis wait stream-is-there --stream-name a",
        "aws kinesis create-stream --shard-count 1",
        "aws kinesis create-stream --stream-name a --stream-mode-details StreamMode=MANUAL",
        "aws iam create-policy --policy-name a --policy-document file://deploy/iam/no-such-policy.json",
        "aws lambda create-event-source-mapping --cli-input-json file://deploy/iam/worker-policy.json",
        "curl https://events.twilio.com/v1/Sinks -d Description=a -d SinkType=kinesis",
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    """A flag, a value, a target, an operation, a parameter, a file or a form field that does not exist."""
    name, *arguments = shlex.split(command)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - each check raises different errors
        CHECKS[name](arguments, ROOT)


@pytest.mark.parametrize(("shown", "is_there"), [("a\nc", True), ("a … d\nc", True), ("c\na", False), ("a", False)])
def test_an_output_is_compared_line_by_line(shown: str, is_there: bool) -> None:
    """In order; `…` stands for anything in a line."""
    printed = "a b d\nb\nc\n" if "…" in shown or shown == "a" else "a\nb\nc\n"
    assert matches(shown, printed) is is_there
