"""Timed words from the segments of a row, for subtitles.

Uses word times if the row has them; otherwise spreads the time of a segment over its characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LINE = 42
"""Longest subtitle line, in columns: a wide (East Asian) character takes two."""

SENTENCE_END = re.compile(r"[.?!。？！…][\"'”’»)\]」』]*$")
CLAUSE_END = re.compile(r"[,;:，、；：–—][\"'”’»)\]」』]*$")
_CLOSING = re.compile(r"[\s]*[.,;:?!…。？！，、；：”’»)\]」』》】〉ー々]")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text that must not be broken across lines.

    `glued`: no space before it. `last`: it ends its segment. Times in seconds, `width` in columns.
    """

    text: str
    start: float
    end: float
    glued: bool
    last: bool
    width: int


def display_width(text: str) -> int:
    """Columns of a text in a fixed font: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clean(text: str) -> str:
    """The text on one line, without characters that have a meaning in subtitle files."""
    return " ".join(text.replace("-->", "->").split())


def tokens(segment: Mapping[str, Any], words: Sequence[Mapping[str, Any]]) -> list[Token]:
    """The tokens of one segment in order; `words` are its own timed words, by start."""
    pieces = split(clean(segment["text"] or ""))
    times = _times("".join(text for text, _ in pieces), segment, words)
    made: list[Token] = []
    at = 0
    for number, (text, glued) in enumerate(pieces):
        span = times[at : at + len(text)]
        last = number == len(pieces) - 1
        made.append(Token(text, span[0][0], span[-1][1], glued, last, display_width(text)))
        at += len(text)
    return made


def split(text: str) -> list[tuple[str, bool]]:
    """(piece, glued) of a cleaned text: words, or characters in scripts without spaces."""
    pieces: list[tuple[str, bool]] = []
    for word in text.split():
        parts = _parts(word)
        pieces += [(part, number > 0) for number, part in enumerate(parts)]
    return pieces


def _parts(word: str) -> list[str]:
    """One word, or its breakable parts: around every wide character, else pieces of half a line."""
    wide = display_width(word) > len(word) or display_width(word) > LINE
    if not wide:
        return [word]
    parts: list[str] = []
    for char in word:
        if parts and (_joins(parts[-1], char) or _CLOSING.match(char)):
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _joins(before: str, char: str) -> bool:
    """Characters of a narrow script stay together up to half a line; marks stay with their base."""
    if _columns(char) == 0:
        return True
    return display_width(before[-1]) < 2 and _columns(char) < 2 and display_width(before) < LINE // 2


def _times(
    letters: str, segment: Mapping[str, Any], words: Sequence[Mapping[str, Any]]
) -> list[tuple[float, float]]:
    """(start, end) of every character: from the words if they spell the segment, else spread evenly."""
    start, end = float(segment["start"]), float(segment["end"])
    spelled = [(clean(word["word"]).replace(" ", ""), word) for word in words]
    if spelled and "".join(text for text, _ in spelled) == letters:
        return [(float(word["start"]), float(word["end"])) for text, word in spelled for _ in text]
    step = (end - start) / max(1, len(letters))
    return [(start + number * step, start + (number + 1) * step) for number in range(len(letters))]
