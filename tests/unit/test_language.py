"""Check the words of code and documentation, and the sizes of functions and files."""

import ast
import re
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for room in ("consumer", "schemas") for path in (ROOT / room).rglob("*.py"))
DOCS = sorted(path for suffix in ("md", "py") for path in (ROOT / "docs").rglob(f"*.{suffix}"))
TEXTS = [*MODULES, ROOT / "README.md", *DOCS]

# A reader has to decode these phrases. Say who does what instead.
RIDDLES = [
    *("whoever", "whatever", "nobody", "as ever", "of (?:its|their) own", "means? well", "is away", "that which"),
    *(r"rule [0-9]+", "goes on by itself", "namesakes?", "farewells?", "heirs?", "let go", "abandon"),
]
# These names were replaced by the words of Kinesis, messaging, HTTP and Python.
PRIVATE_NOUNS = [
    *("Surroundings", "Outlets", "Holdings", "Tenure", "Heir", "Namesakes", "ShardChild", "PlaceUrl"),
    *("Oddity", "Oddities", "glance", "GLANCE", "hand_over", "hand_on", "let_go"),
]
# A sentence may begin with one of these, so they are forbidden only where code defines them or a page quotes them.
PRIVATE_NAMES = [
    *("Fence", "Seal", "Letter", "Arrivals", "Departure", "Place", "Watch", "Sight", "Rank", "Origin", "Contents"),
    *("Repeats", "Pace", "Ending", "Refused", "Answers?"),
]


def _any_of(phrases: list[str]) -> str:
    """Return an expression for any of the phrases, even if a line break divides one."""
    return "|".join(phrases).replace(" ", r"\s+(?:#\s+)?")


FORBIDDEN = re.compile(
    rf"\b(?i:{_any_of(RIDDLES)})\b"
    rf"|\b(?:{_any_of(PRIVATE_NOUNS)})\b"
    rf"|(?:class |`|^)(?:{'|'.join(PRIVATE_NAMES)})(?: =|:|\(|`)",
    re.MULTILINE,
)


def forbidden(text: str) -> list[tuple[int, str]]:
    """Return line number and words of each forbidden phrase."""
    return [(text.count("\n", 0, hit.start()) + 1, hit[0]) for hit in FORBIDDEN.finditer(text)]


def function_lengths() -> dict[str, int]:
    """Return the number of lines of each function by its file and line."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_text_needs_decoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {' '.join(phrase.split())!r}: say it in plain words"
        for path in TEXTS
        for line, phrase in forbidden(path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("first\nNobody waits", [(2, "Nobody")]),
        ("# each has a lane of its\n    # own", [(1, "of its\n    # own")]),
        ("see rule 7", [(1, "rule 7")]),
        ("held: Tenure", [(1, "Tenure")]),
        ("class Fence:", [(1, "class Fence:")]),
        ("import re\nPlace = tuple[int, int]", [(2, "Place =")]),
        ("Watch the rows: each has a `Rank`", [(1, "`Rank`")]),
        ("a fence around theirs, which is always there", []),
    ],
)
def test_a_forbidden_phrase_is_found_with_its_line(text: str, found: list[tuple[int, str]]) -> None:
    assert forbidden(text) == found


def test_functions_are_short() -> None:
    lengths = function_lengths()
    longest = max(lengths, key=lengths.__getitem__)
    assert median(lengths.values()) <= 6
    assert quantiles(lengths.values(), n=10)[-1] <= 15
    assert lengths[longest] <= 40, f"{longest}: {lengths[longest]} lines: split this function"


def test_files_are_short() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert not [f"{path}: {lines} lines: split this file" for path, lines in lengths.items() if lines > 260]
