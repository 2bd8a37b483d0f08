"""Texts that decoders write for voices without words: laughter, cries, one syllable again and again."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

from asr_batch.pipeline.text.words import is_dense, normal_words, words_of
from asr_batch.pipeline.thresholds import CAPTION, CHANT, CHANT_PARTS

_PART = re.compile(r"\w+")
_LAUGHTER = re.compile(r"[^\W\d_]{0,2}([^\W\d_]{2,3}?)\1{2,}[^\W\d_]{0,2}")
_HAHA = re.compile(r"[aeiou]?(?:h[aeiou]h?){2,}|hah?|heh", re.IGNORECASE)
_DRAWN_OUT = re.compile(r"([^\W\d_]{1,5}?)\1{7,}", re.IGNORECASE)
_LONG_VOWEL = re.compile(r"([aeiou\u0430\u0435\u0438\u043e\u0443])\1\1")
_CRIES = re.compile(r"(?:ah|oh|uh|eh|u?m|h?m+h?m?|ar?gh|ugh|ow|whoa|woah)")  # letters in a row count once


def repetition(text: str) -> float:
    """Share of the text's words that it has already had."""
    words = normal_words(text)
    return 1 - len(set(words)) / len(words) if words else 0.0


def stutter(text: str) -> float:
    """Share of the text's words and hyphenated syllables that equal the one before; 0 with digits.

    People read out numbers, and a model is unsure of single digits.
    """
    parts = _parts(text)
    if not parts or has_digits(text):
        return 0.0
    same: int = sum(left == right for left, right in pairwise(parts))
    return same / len(parts)


def _parts(text: str) -> list[str]:
    return [part.casefold() for word in words_of(text) for part in _PART.findall(word)]


def has_digits(text: str) -> bool:
    """Whether the text has a number."""
    return any(map(str.isdigit, text))


def drawn_out(text: str) -> str:
    """Letters that it has eight times in a row ("Mmmmmmmm", "hahahahahahahaha"), as no word does; or none."""
    found = _DRAWN_OUT.search(text)
    return found.group(1).casefold() if found else ""


def chants_otherwise(text: str, other: str) -> bool:
    """Whether `other` repeats a syllable that the text lacks and that begins otherwise than its own main one.

    Decodings of a word said again and again differ in its end; those of laughter or babble altogether.
    """
    own, syllable = _parts(text), _chanted(other)
    if not own or not syllable or syllable in text.casefold():
        return False
    return _script(_most(own)) == _script(syllable) and syllable[0] != _most(own)[0]


def _chanted(text: str) -> str:
    """The syllable that the text is made of, again and again; empty if it says more."""
    parts = _parts(text)
    if len(parts) >= CHANT_PARTS and stutter(text) >= CHANT:
        return _most(parts)
    return drawn_out(text)


def _most(parts: Sequence[str]) -> str:
    return Counter(parts).most_common(1)[0][0]


def _script(part: str) -> str:
    """The script of its first letter: a text in another one is spelled differently throughout."""
    return unicodedata.name(part[0], "").split(" ")[0]


def is_cry(text: str) -> bool:
    """Whether each word is an interjection, a hum, or has a long vowel ("Mmm", "OOOH!", "Ugh", "Daaah")."""
    words = normal_words(text)
    return bool(words) and all(map(_is_cry, words))


def _is_cry(word: str) -> bool:
    once = "".join(letter for letter, _ in groupby(word))
    return len(word) > 1 and bool(_CRIES.fullmatch(once) or _LONG_VOWEL.search(word))


def is_laughter(text: str) -> bool:
    """Whether each word is a syllable three times in a row ("Hahaha!"), as no word is."""
    words = normal_words(text)
    return bool(words) and all(_LAUGHTER.fullmatch(word) and not is_dense(word[0]) for word in words)


def is_haha(text: str) -> bool:
    """Whether each word is the usual spelling of a laugh, short or long."""
    words = normal_words(text)
    return bool(words) and all(_HAHA.fullmatch(word) for word in words)


def is_caption(text: str) -> bool:
    """Whether the text describes a sound, as subtitles do in capitals ("ТРЕВОЖНАЯ МУЗЫКА": tense music)."""
    return sum(map(str.isalnum, text)) >= CAPTION and text == text.upper() != text.lower()
