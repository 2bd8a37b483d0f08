"""Finds glossary terms in a transcript: whole words, also plurals, ignoring case and punctuation."""

from __future__ import annotations

from collections.abc import Sequence

from asr_batch.pipeline.text.words import normal_words


class Terms:
    """Counts the terms of a glossary in texts."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = [(term, normal_words(term)) for term in terms]

    def heard(self, text: str) -> dict[str, int]:
        """Count of each term in the text, in the order of the glossary."""
        said = normal_words(text)
        places: dict[str, list[int]] = {}
        for place, word in enumerate(said):
            places.setdefault(word, []).append(place)
        counts = ((term, _count(words, said, places)) for term, words in self._terms)
        return {term: count for term, count in counts if count}

    def letters(self, text: str) -> int:
        """Number of letters of terms in the text."""
        heard = self.heard(text)
        return sum(heard.get(term, 0) * sum(map(len, words)) for term, words in self._terms)


def _count(words: Sequence[str], said: Sequence[str], places: dict[str, list[int]]) -> int:
    """How often the words occur consecutively; overlapping occurrences count once."""
    count, free = 0, 0
    for place in sorted([*places.get(words[0], ()), *places.get(f"{words[0]}s", ())]) if words else ():
        if place >= free and _alike(said[place : place + len(words)], words):
            count, free = count + 1, place + len(words)
    return count


def _alike(said: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the words are equal; the last one may have an s (plural, genitive)."""
    same = len(said) == len(words) and list(said[:-1]) == list(words[:-1])
    return same and said[-1] in (words[-1], f"{words[-1]}s")
