"""Find the code blocks of README and docs. Each is marked by an HTML comment in the line before it.

`run`: the blocks of a page are executed together, in order. `run: output`: the text is what the last of them printed.
`run: output of COMMAND`: the text is what that command prints. In an output, `…` stands for anything in a line.
`stubbed`: the block is executed with stubs, and each command's arguments are checked against the real command or the
service's model. `not run: REASON`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (run|stubbed|not run)(?:: (.+?))? -->\n *\Z")


@dataclass(frozen=True)
class Block:
    """A code block: where it is, its language, its text, and its mark with the rest of the mark's line."""

    page: Path
    line: int
    language: str
    text: str
    mark: str
    detail: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order; the mark of an unmarked one is ""."""
    return list(_blocks(page, page.read_text("utf-8")))


def _blocks(page: Path, text: str) -> list[Block]:
    found = []
    for fence in FENCE.finditer(text):
        before = text[: fence.start()] + fence[1]
        mark = MARK.search(before)
        line = text.count("\n", 0, fence.start()) + 1
        word, detail = (mark[1], mark[2] or "") if mark else ("", "")
        found.append(Block(page, line, fence[2], dedent(fence[3]), word, detail))
    return found


def indented(page: Path) -> list[int]:
    """Return the lines of a page that begin a code block by indentation, which cannot be marked."""
    text = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), page.read_text("utf-8"))
    lines = text.split("\n")
    return [
        number
        for number, line in enumerate(lines, 1)
        if re.match(r" {4}\S", line) and not lines[number - 2].strip() and not _in_list(lines[: number - 2])
    ]


def _in_list(lines: list[str]) -> bool:
    """Return whether the last text that is not indented is an item of a list."""
    last = next((line for line in reversed(lines) if line[:1].strip()), "")
    return bool(re.match(r"[-*] |\d+\. ", last))


def matches(shown: str, printed: str) -> bool:
    """Return whether the shown lines occur in this order in what was printed; `…` stands for anything in a line."""
    rest = iter(printed.split("\n"))
    wanted = [".*".join(map(re.escape, line.strip().split("…"))) for line in shown.strip().split("\n")]
    return all(any(re.fullmatch(pattern, line.strip()) for line in rest) for pattern in wanted)
