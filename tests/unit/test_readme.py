"""README and docs are true: every setting, command, link and picture."""

import json
import re
import runpy
from pathlib import Path

import pytest

from consumer.cli import COMMANDS
from consumer.settings import PREFIX, Settings, flag, written
from schemas.call_request import CallRequest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")
COMMAND_PAGE = (ROOT / "docs" / "commands.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(name: str) -> str:
    """Return the setting's line in the table of docs/settings.md."""
    field = Settings.model_fields[name]
    default = field.default
    said = "" if default in (None, "", False) else f"`{written(default)}`"
    return f"| `{'STREAM' if name == 'stream' else flag(name)}` | {said} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    """As the command's help says it."""
    assert shown(name) in SETTINGS


def test_the_page_names_the_environment_of_a_setting() -> None:
    """One prefix for all."""
    assert f"`{PREFIX}…`" in SETTINGS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    """With a line of its own."""
    assert re.search(rf"^\| `{command}\b", COMMAND_PAGE, re.MULTILINE)


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
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_fits_the_first_screen_of_a_browser() -> None:
    """At most 6 KB; details belong into docs."""
    assert len(README.encode()) <= 6 * 1024


def test_the_picture_is_what_its_script_draws() -> None:
    """Edit docs/picture.py, not the SVG."""
    drawn = runpy.run_path(str(ROOT / "docs" / "picture.py"))["picture"]()
    assert drawn == (ROOT / "docs" / "picture.svg").read_text("utf-8")


def test_the_row_of_the_readme_has_every_field() -> None:
    """In the order of the schema."""
    [row] = re.findall(r"```json\n(.*)\n```", README)
    assert list(json.loads(row)) == list(CallRequest.__annotations__)
