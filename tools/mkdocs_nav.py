"""A hook of mkdocs for what the site cannot know.

Pages that `nav` does not name yet are listed under "More" instead of getting lost. Links to files of the
repository outside of docs/ become the file's path: the site may stand anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def pages(entry: object) -> Iterator[str]:
    """File names in a piece of `nav`."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for inner in entry.values():
            yield from pages(inner)
    elif isinstance(entry, list):
        for inner in entry:
            yield from pages(inner)


def on_config(config: Any) -> Any:
    """Add what is missing."""
    missing = sorted(
        {path.name for path in Path(config["docs_dir"]).glob("*.md")} - set(pages(config["nav"]))
    )
    if missing:
        config["nav"].append({"More": missing})
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name files outside of docs/ instead of linking to them."""
    return re.sub(r"\[([^\]]*)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)
