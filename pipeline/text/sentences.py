"""Divides timed words into sentences: segments for subtitles and tables."""

from __future__ import annotations

from collections.abc import Sequence

from asr_batch.manifests.records import Word

_ENDS = tuple(".?!\u2026\u3002\uff1f\uff01")
_CLOSING = "\"'\u201d\u2019\u00bb)]"

_PAUSE = 0.15
"""Seconds of silence after a full stop that end a segment."""

_LONG_PAUSE, _LONG = 0.4, 6.0
"""Seconds of silence that end a segment longer than this many seconds, at any word."""


def ends_sentence(word: str) -> bool:
    """Whether a written word is the last of a sentence."""
    return word.rstrip(_CLOSING).endswith(_ENDS)


def sentences(words: Sequence[Word]) -> list[tuple[int, int]]:
    """Words [first, last) of each segment: sentences before a pause, and long ones cut at long pauses."""
    out: list[tuple[int, int]] = []
    first = 0
    for index, word in enumerate(words):
        if index + 1 == len(words) or _parts(word, words[index + 1], words[first].start):
            out.append((first, index + 1))
            first = index + 1
    return out


def _parts(word: Word, following: Word, begin: float) -> bool:
    pause = following.start - word.end
    if ends_sentence(word.word) and pause >= _PAUSE:
        return True
    return pause >= _LONG_PAUSE and word.end - begin >= _LONG
