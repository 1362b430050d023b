"""Check links from docs/ to other files of the repository, and point them at it. MkDocs calls `on_page_markdown`."""

import logging
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)]*)?\)")
log = logging.getLogger("mkdocs.plugins.links")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the page with each link that leaves docs/ replaced; warn about files that do not exist."""
    folder = (ROOT / "docs" / page.file.src_path).parent
    repository = config.extra.get("repository", "")

    def replaced(link: re.Match[str]) -> str:
        text, path, anchor = link[1], Path(os.path.normpath(folder / link[2])), link[3] or ""
        if path.is_relative_to(ROOT / "docs"):
            return link[0]
        if not path.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_path, link[2])
        return f"[{text}]({repository}/{path.relative_to(ROOT)}{anchor})" if repository else text

    return LINK.sub(replaced, markdown)
