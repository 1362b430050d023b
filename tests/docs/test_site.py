"""The documentation builds as a site, and its links are checked."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import need

ROOT = Path(__file__).parents[2]
MKDOCS = ROOT / "build" / "site" / "venv" / "bin" / "mkdocs"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the documentation inside a folder that shows the rest of the repository."""
    need(MKDOCS.exists(), "make site")
    for path in ROOT.iterdir():
        if path.name not in ("docs", "build", "mkdocs.yml"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def build(copy: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make site` does."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [str(MKDOCS), "build", "--strict", "--site-dir", "html"]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_site_builds_and_loads_nothing_from_elsewhere(copy: Path) -> None:
    """Scripts, styles, fonts and pictures come with the site."""
    built = build(copy)
    assert built.returncode == 0, built.stderr
    for page in (copy / "html").rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"', page.read_text("utf-8"))
        loaded += re.findall(r'<link[^>]*\shref="([^"]*)"', page.read_text("utf-8"))
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page
        assert "```" not in page.read_text("utf-8"), page  # a code block that was not recognised


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("[a page](no-such-page.md)", "no-such-page.md"),
        ("[a heading](settings.md#no-such-heading)", "no-such-heading"),
        ("[a file](../consumer/no_such_file.py)", "no_such_file.py"),
        ("[a page](/settings.md)", "/settings.md"),
    ],
)
def test_a_broken_link_fails_the_build(copy: Path, planted: str, said: str) -> None:
    """A page, a heading, a file of the repository, an absolute path."""
    with (copy / "docs" / "sinks.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{planted}\n")
    built = build(copy)
    assert built.returncode == 1
    assert said in built.stderr


def test_a_page_that_no_menu_shows_fails_the_build(copy: Path) -> None:
    """Each page is listed in mkdocs.yml."""
    (copy / "docs" / "forgotten.md").write_text("# Forgotten\n", "utf-8")
    built = build(copy)
    assert built.returncode == 1
    assert "forgotten.md" in built.stderr
