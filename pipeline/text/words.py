"""Words of a transcript in any script: counting, comparing, joining."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from asr_batch.models.words import DENSE, WORD

_LATIN_CODES = """
af az br bs ca cs cy da de en es et eu fi fo fr gl ha haw hr ht hu id is it jw la lb ln lt lv
mg mi ms mt nl nn no oc pl pt ro sk sl sn so sq su sv sw tk tl tr uz vi yo
"""
LATIN = frozenset(_LATIN_CODES.split())
"""Codes of languages in Latin script (they need fewer tokens per second of speech)."""


def words_of(text: str) -> list[str]:
    """The text's words; in scripts without spaces each character is one, with the marks after it."""
    return WORD.findall(text)


def is_dense(character: str) -> bool:
    """Whether a character belongs to a script without spaces between words."""
    return DENSE.match(character) is not None


def words_between(text: str, first: int, last: int) -> str:
    """The text from word `first` up to, but excluding, word `last`, with single spaces."""
    places = [match.span() for match in WORD.finditer(text)][first:last]
    return " ".join(text[places[0][0] : places[-1][1]].split()) if places else ""


def join_texts(texts: Iterable[str]) -> str:
    """Join the texts of consecutive windows."""
    out = ""
    for text in texts:
        text = text.strip()
        if not text:
            continue
        glue = " " if out and not (DENSE.match(text[0]) and DENSE.match(out[-1])) else ""
        out += glue + text
    return out


def normal(word: str) -> str:
    """The word for comparison: lower case, letters and digits only."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(character for character in folded if character.isalnum())


def normal_words(text: str) -> list[str]:
    """The text's words for comparison, without those that are only punctuation."""
    return [word for word in map(normal, words_of(text)) if word]


def normal_letters(text: str) -> str:
    """The letters and digits of the text's words, for comparison."""
    return "".join(normal_words(text))


@lru_cache(256)
def similarity(one: str, other: str) -> float:
    """How much two words have in common, 0 to 1: of all letters, those in runs that both have in order."""
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def letters(text: str) -> int:
    """Number of letters and digits: a steadier measure of the amount of speech than words."""
    return sum(character.isalnum() for character in text)
