"""Formats numbers and texts for the report."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from markupsafe import Markup, escape

WORDS = 80
"""Of both texts of a row with word errors."""


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage that does not round up to 100 or down to 0."""
    if share is None:
        return "-"
    text = f"{share:.{digits}%}"
    if text.startswith("100.") and share < 1:
        text = f"{100 - 10**-digits:.{digits}f}%"
    return text.replace("%", " %")


def span(seconds: float | None) -> str:
    """Seconds as 4.2 s, 3 min 20 s, 5 h 12 min."""
    if seconds is None:
        return "-"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def clock(seconds: float) -> str:
    """A position in a file: 1:02:03.4."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def marked(text: str) -> Markup:
    """The text as HTML, with `code` for text between backticks."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    tagged = [
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    ]
    return Markup("").join(tagged)


def marks(reference: str, text: str) -> list[tuple[str, str]]:
    """The first edits (`same`, `del` or `ins`, and words) that turn the reference into the text."""
    expected, said = reference.split()[:WORDS], text.split()[:WORDS]
    keys = [[re.sub(r"\W", "", word).casefold() for word in side] for side in (expected, said)]
    made: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if kind == "equal":
            made.append(("same", " ".join(said[c:d])))
            continue
        made += [("del", " ".join(expected[a:b]))] * (b > a) + [("ins", " ".join(said[c:d]))] * (d > c)
    long = len(reference.split()) > WORDS or len(text.split()) > WORDS
    return made + [("same", "…")] * long
