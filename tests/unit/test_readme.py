"""The README is true: every setting, every command, every link."""

import re
from pathlib import Path

import pytest

from consumer.cli import COMMANDS
from consumer.settings import PREFIX, Settings, flag, written

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(name: str) -> str:
    """The setting's line in the README's table."""
    field = Settings.model_fields[name]
    default = field.default
    said = "" if default in (None, "", False) else f"`{written(default)}`"
    return f"| `{'STREAM' if name == 'stream' else flag(name)}` | {said} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_readme_with_its_default(name: str) -> None:
    """As the command's help says it."""
    assert shown(name) in README


def test_the_readme_names_the_environment_of_a_setting() -> None:
    """One prefix for all."""
    assert f"`{PREFIX}…`" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    """With a line of its own."""
    assert re.search(rf"^\| `{command}\b", README, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    """Files and folders named in text, and relative links."""
    text = page.read_text("utf-8")
    named = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    named += re.findall(r"(?<![\w/.-])((?:docs|consumer|schemas|tests|benchmarks|deploy)/[\w./-]*\w)", text)
    for path in named:
        assert (ROOT / path).exists() or (page.parent / path).exists(), path


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """`make demo` and `make test`."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
