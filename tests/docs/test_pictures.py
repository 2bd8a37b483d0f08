"""The README's picture of the terminal is what the program prints, in its own colours."""

from __future__ import annotations

import html
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from asr_batch.models.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("pyte")


def shown(svg: str) -> list[tuple[str, str]]:
    """Pieces of text of the picture in order, with the fill of their class; blanks and speeds left out."""
    fills = dict(re.findall(r"\.(terminal-\d+-r\d+) \{ (fill: [^}]+?) \}", svg))
    pieces = []
    for style, text in re.findall(r'<text class="(terminal-\d+-r\d+)"[^>]*>(.*?)</text>', svg):
        plain = html.unescape(text).replace("\xa0", " ").strip()
        if plain:
            pieces.append((re.sub(r"\d+(\.\d+)?x real time", "N x real time", plain), fills[style]))
    return pieces


def test_the_picture_is_a_run(real_models: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    pictures = import_module("pictures")
    (tmp_path / "work").mkdir()
    lines = pictures.demo_on_terminal(tmp_path / "work", real_models.root)
    pictures.terminal_picture(tmp_path / "demo.svg", lines)
    drawn = (ROOT / "docs" / "images" / "demo.svg").read_text(encoding="utf-8")
    fresh = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    assert shown(drawn) == shown(fresh), "`make pictures` draws it anew"
    assert "ok" in [text for text, _ in shown(drawn)]
    sys.modules.pop("pictures", None)
