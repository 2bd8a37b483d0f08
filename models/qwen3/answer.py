"""Parses the decoder's answer: language, text, signs of a loop. Never removes text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asr_batch.models.qwen3.languages import language_code

TAG = "<asr_text>"

LOOP_UNIT = 20
"""Longest repeated pattern, in characters, that counts as a loop (the vendor's rule)."""

LOOP_TIMES = 20
"""A pattern repeated this often in a row is a loop (the vendor's rule)."""

_LOOP = re.compile(r"(.{1,%d}?)\1{%d,}" % (LOOP_UNIT, LOOP_TIMES - 1), re.DOTALL)  # noqa: UP031
_LANGUAGE = re.compile(r"language\s+(\S[^\n]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """`language` is a code, or the model's own word in lower case if unknown, or None if it named none."""

    text: str
    language: str | None


def parse(raw: str, hint: str | None) -> Answer:
    """Split `raw` as decoded (special tokens dropped) into language and text.

    With a `hint` (a code) the prompt already holds the language, and the answer is text only. Without one it
    is `language X<asr_text>text`; an answer without the tag is all text, in an unknown language.
    """
    if hint is not None:
        return Answer(raw.strip(), hint)
    head, tag, text = raw.partition(TAG)
    if not tag:
        return Answer(raw.strip(), None)
    return Answer(text.strip(), _language(head))


def _language(head: str) -> str | None:
    found = _LANGUAGE.search(head)
    name = found.group(1).strip().lower() if found else ""
    if name in ("", "none"):
        return None
    return language_code(name) or name


def loops(text: str) -> bool:
    """Whether a pattern of up to LOOP_UNIT characters stands LOOP_TIMES times or more in a row."""
    return _LOOP.search(text) is not None
