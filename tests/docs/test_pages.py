"""README and docs are true and readable: generated parts, links, paths, the picture, the words."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from consumer import adapters
from consumer.cli import COMMANDS
from consumer.settings import PREFIX, Settings, flag
from schemas.call_request import CallRequest
from tests.docs.blocks import FENCE, PAGES, ROOT
from tests.unit.test_language import forbidden

README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")
COMMAND_PAGE = (ROOT / "docs" / "commands.md").read_text("utf-8")
TEXTS = [*PAGES, *(ROOT / "deploy").rglob("*.yaml"), ROOT / ".github" / "pull_request_template.md"]
FOLDERS = r"(?:docs|consumer|schemas|tests|benchmarks|deploy|examples|requirements|\.ci)"


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def named(page: Path) -> str:
    """Return a page's path for a test's name."""
    return str(page.relative_to(ROOT))


def test_the_pages_describe_every_sink() -> None:
    """Add a new sink to `SINKS` and `REPEATS` in docs/generate.py."""
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for table in ("SINKS", "REPEATS"):
        assert {place.partition(":")[0] for place in generate[table]} == adapters.SINKS.keys()


def test_the_generated_parts_are_up_to_date() -> None:
    """Run `make pages` after a change of settings, commands, rows, sinks or the example."""
    checked = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_an_outdated_part_is_found() -> None:
    """A hand-made change between the comments does not survive."""
    generated = runpy.run_path(str(ROOT / "docs" / "generate.py"))["generated"]
    outdated = SETTINGS.replace("`32MiB`", "`65MiB`")
    assert outdated != SETTINGS
    assert generated(outdated) == SETTINGS


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    """With its flag, its variable and the help text."""
    shown = "STREAM" if name == "stream" else flag(name)
    [line] = [line for line in SETTINGS.split("\n") if line.startswith(f"| `{shown}` |")]
    assert f"`{PREFIX}{name.rstrip('_').upper()}`" in line
    assert str(Settings.model_fields[name].description) in line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_explained(command: str) -> None:
    """Beyond its line in the table."""
    assert re.search(rf"^- \*\*`{command}\b", COMMAND_PAGE, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_targets_of_links_exist(page: Path) -> None:
    """Also those that the site does not show."""
    for path in re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        assert (page.parent / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_paths_in_text_are_links(page: Path) -> None:
    """A reader can open what a page names."""
    text = re.sub(r"\[[^\]]*\]\([^)]*\)|<!--.*?-->|`[^`\n]* [^`\n]*`", "", prose(page), flags=re.DOTALL)
    assert re.findall(rf"(?<![\w/.:-]){FOLDERS}/[\w./-]*\w", text) == []


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_a_page_has_no_riddles(page: Path) -> None:
    """Plain English, with the field's words."""
    assert forbidden(page.read_text("utf-8")) == []


def test_a_measured_figure_stands_on_one_page() -> None:
    """Else one of two copies grows old. Defaults and limits are not measured, so whole seconds and MiB may repeat."""
    figure = r"(?<![\d.,])\d+\.\d+ (?:s|ms|µs|MB|%|cores?)\b|\b\d+ (?:µs|MB)(?! per second)\b"
    measured = set(re.findall(figure, (ROOT / "docs" / "benchmarks.md").read_text("utf-8")))
    assert measured
    for page in PAGES:
        if page.name != "benchmarks.md":
            assert measured & set(re.findall(figure, prose(page))) == set(), page


def test_code_points_at_existing_headings() -> None:
    """Docstrings and comments name pages as docs/PAGE.md#HEADING."""
    for source in [*(ROOT / "consumer").rglob("*.py"), *(ROOT / "schemas").rglob("*.py")]:
        for page, heading in re.findall(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?", source.read_text("utf-8")):
            assert (ROOT / page).exists(), f"{source}: {page}"
            assert not heading or f'id="{heading}"' in (ROOT / page).read_text("utf-8"), f"{source}: {page}#{heading}"


@pytest.mark.parametrize("record", sorted((ROOT / "docs" / "decisions").glob("0*.md")), ids=named)
def test_a_decision_says_why_and_what_would_change_it(record: Path) -> None:
    """Each has the same four parts, a number, and a line in the index."""
    text = record.read_text("utf-8")
    parts = re.findall(r"^\*\*(Context\.|Decision\.|Consequence\.|We would change this if)\*\* \S", text, re.MULTILINE)
    assert parts == ["Context.", "Decision.", "Consequence.", "We would change this if"]
    assert text.startswith(f"# {int(record.name[:4])}. ")
    assert f"]({record.name})" in (record.parent / "README.md").read_text("utf-8")


def test_the_two_commands_of_the_readme_are_demo_and_test() -> None:
    """Nothing else is needed to see it work."""
    assert re.findall(r"^make (\w+)", README, re.MULTILINE) == ["demo", "test"]


def test_the_readme_fits_the_first_screens_of_a_browser() -> None:
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
