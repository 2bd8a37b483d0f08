"""Texts that decoders write for voices without words: laughter, cries, one syllable again and again."""

from __future__ import annotations

import re
from itertools import groupby

from asr_batch.pipeline.text.words import normal_words
from asr_batch.pipeline.thresholds import SYLLABLE

_HAHA = re.compile(r"[aeiou]?(?:h[aeiou]h?){2,}|hah?|heh", re.IGNORECASE)
_LONG_VOWEL = re.compile(r"([aeiou\u0430\u0435\u0438\u043e\u0443])\1\1")
_CRIES = re.compile(r"(?:ah|oh|uh|eh|u?m|h?m+h?m?|ar?gh|ugh|ow|whoa|woah)")  # letters in a row count once


def rhythm(text: str) -> float:
    """How much of a text is one syllable again and again: "Duh, duh, duh", "Hahahaha", "Noooooo".

    The largest share of its letters that equal the one a syllable (up to `SYLLABLE` letters) before. 0 with
    digits: people read out numbers.
    """
    if has_digits(text):
        return 0.0
    letters = [letter for letter in text.casefold() if letter.isalpha()]
    lengths = range(1, min(SYLLABLE, len(letters) // 2) + 1)
    return max((_same(letters, length) / len(letters) for length in lengths), default=0.0)


def _same(letters: list[str], length: int) -> int:
    return sum(left == right for left, right in zip(letters, letters[length:], strict=False))


def has_digits(text: str) -> bool:
    """Whether the text has a number."""
    return any(map(str.isdigit, text))


def is_cry(text: str) -> bool:
    """Whether each word is an interjection, a hum, or has a long vowel ("Mmm", "OOOH!", "Ugh", "Daaah")."""
    words = normal_words(text)
    return bool(words) and all(map(_is_cry, words))


def _is_cry(word: str) -> bool:
    once = "".join(letter for letter, _ in groupby(word))
    return len(word) > 1 and bool(_CRIES.fullmatch(once) or _LONG_VOWEL.search(word))


def is_haha(text: str) -> bool:
    """Whether each word is the usual spelling of a laugh, short or long."""
    words = normal_words(text)
    return bool(words) and all(_HAHA.fullmatch(word) for word in words)
