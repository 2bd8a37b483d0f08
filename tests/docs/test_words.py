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
    r"\b(silero|nobody|(the|a) (model|audit|decoder|encoder|recognizer)) hears?\b": "detects, transcribes",
    r"\bheard again\b|\bhears? (nobody|no|almost|under|at least)\b": "is decoded again, detects",
    r"\b(second|further|another) hearings?\b": "decoding",
    r"\b(a|the|this) seams?\b|\bseams? (to|between|inside)\b": "interface, join",
    r"\b(in|on|by) an? \w+ of (its|their|his|our) own\b": "in its own …, separately",
    r"\b(bytes|letters|words|tokens|files|rows|frames|samples|columns|characters|digits) a "
    r"(second|minute|window|row|line|frame|column|step)\b": "per",
    r"\b(one|a term|a word|a line|object) a (line|row|second|token)\b": "one per line",
    r"\bgo(es)? on\b": "continues, resumes",
    r"\bholds? (\w+ )?to be\b|\bheld to be\b": "considers, classifies as",
    r"\bso many (seconds|words|tokens|letters|windows|times|samples|positions|files)\b": "this many",
    r"\bwhere (there|it) (is|has) none\b|\bwhere there is (one|no)\b": "if there is none",
    r"\ball is well\b|\bis not well\b": "no problems",
    r"\bgive (another|a free|files)\b": "choose, use",
    r"\bdone again\b|\bredone\b": "transcribed again, run again",
    r"\bstands? (there|twice)\b|\bas (it|they) stands?\b": "is",
    r"\bcannot be told\b|\bthe likelier\b": "is unknown, more likely",
    r"\b(says?|knows?) nothing of\b|\bsays of itself\b": "does not know, contains",
    r"\bby how much\b": "the difference",
    r"\bis taken for\b": "is mistaken for",
    r"\band nothing else\b|\bnothing else does\b": "only",
    r"\bthrown? away\b": "deleted",
    r"\b(is|are) no (\w+) (of|file|text|list|model)\b": "is not a",
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
    "words", ["a seed\nproject", "configured anew", "it is\n    # told", "An own reader", "so many\n  words"]
)
def test_the_check_can_fail(words: str) -> None:
    assert found(words)
