"""mkdocs hooks.

Pages that are not in `nav` are listed under "More". A link to a file outside docs/ becomes the path of
that file, because the site may be hosted anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def pages(entry: object) -> Iterator[str]:
    """File names in a part of `nav`."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for inner in entry.values():
            yield from pages(inner)
    elif isinstance(entry, list):
        for inner in entry:
            yield from pages(inner)


def on_config(config: Any) -> Any:
    """Add the pages missing from `nav`."""
    missing = sorted(
        {path.name for path in Path(config["docs_dir"]).glob("*.md")} - set(pages(config["nav"]))
    )
    if missing:
        config["nav"].append({"More": missing})
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fix links that point out of docs/, and those of pages that are symlinks to files at the root."""
    markdown = re.sub(r"\]\(docs/", "](", markdown)
    return re.sub(r"\[([^\]]*)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)
