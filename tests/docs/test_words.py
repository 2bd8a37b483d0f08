"""Words that this project does not use, in docs, messages and comments, and what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("jobs", "workers", "pipeline", "models", "manifests", "tools", "bench", "deploy")
INSTEAD = {
    r"\bcontracts?:|\bcontract,? (hailo|qwen)|\b(of|and) the contract\b": "a link to docs/",
    r"\.md, section \d": "a link to docs/",
    r"\bseed project|\bseeds? 0\d\d\b|\bthe seed's\b": "a link to the public source",
    r"\banew\b": "again",
    r"\b(can|cannot|could) be had\b": "is (not) available",
    r"\b(is|are) told\b(?! (apart|what|to\b))": "is reported",
    r"\ban own\b": "our own",
    r"\bthousand million\b": "billion",
    r"\bwhere to read on\b": "read more",
    r"\b(is|what is) there twice\b": "duplicates",
    r"\bfor ever\b": "until stopped",
    r"\brecognisers?\b": "recognizer, as the class is called",
    r"\bbears? the name\b": "is called",
    r"\bwith commas between\b": "separated by commas",
    r"\bhas to be said\b|\bsays? so for\b": "the fact itself",
    r"\bof no more use\b": "cannot go on",
    r"\bwhat would be right\b": "what was expected",
    r"\bgrumble": "print",
}


def texts() -> list[Path]:
    """Everything a person reads: pages, sources, scripts; files that a tool generated are not among them."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*")]
    kinds = {".py", ".c", ".h", ".md", ".sh", ".j2", ".yml", ".yaml", ".env", ".service"}
    return sorted(pages + [path for path in sources if path.suffix in kinds and path.is_file()])


def found(text: str) -> list[tuple[int, str, str]]:
    """Line, words and advice for each use; words may be spread over a line break."""
    flat = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", lambda gap: "\n" + " " * (len(gap[0]) - 1), text)
    uses = []
    for pattern, advice in INSTEAD.items():
        spread = pattern.replace(" ", r"\s+")
        uses += [
            (flat[: use.start()].count("\n") + 1, " ".join(use[0].split()), advice)
            for use in re.finditer(spread, flat, flags=re.IGNORECASE)
        ]
    return uses


def test_nothing_is_written_in_words_that_we_do_not_use() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {words!r}; write: {advice}"
        for path in texts()
        for line, words, advice in found(path.read_text("utf-8"))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "words", ["a seed\nproject", "configured anew", "it is\n    # told", "An own reader"]
)
def test_the_check_can_fail(words: str) -> None:
    assert found(words)
