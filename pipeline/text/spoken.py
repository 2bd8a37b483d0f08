"""Estimates how long a written word takes to say: "1234" and "www" are short to write and long to say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from asr_batch.models.recognizer import TimedText
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Mask
from asr_batch.pipeline.text.words import words_of
from asr_batch.pipeline.thresholds import LETTER_SECONDS, WORD_SECONDS

_DIGIT = 5
"""Letters of a spoken digit: "three" to "seven"; parts of longer numbers ("twenty") take about as many."""

_NAME = 3
"""Letters of the name of a letter that is spelled: "bee", "double-u"."""

_PARTED = 5
"""The same with hyphens between them ("M-I-S-D-N"): they are said one by one."""

_APART = re.compile(r"\w(-\w)+")

_WEB = 3 * (len("doubleu") - 1)
"""Letters of "double-u" said three times, beyond the three written: nobody says "www" as a word."""

_SIGN = 4
"""Letters of a sign inside a word: "dot", "at", "percent"."""

_SILENT = ".,;:!?\u00bf\u00a1\"'\u2019\u2018\u201c\u201d()[]{}\u2026"
_SILENT += "\u00ab\u00bb-\u2013\u2014\u3002\uff0c\u3001\uff01\uff1f"
"""Marks that are not spoken at the edges of a word."""

_PAUSES = frozenset(".,;:!?\u2026\u3002\uff0c\u3001\uff01\uff1f")
"""Marks after a word that its speaker lingers on."""


@lru_cache(maxsize=4096)  # asked for each word of a window, again and again
def spoken_letters(word: str) -> int:
    """Number of letters of a written word as spoken."""
    core = word.strip(_SILENT)
    letters = [character for character in core if character.isalpha()]
    spelled = len(letters) == 1 == len(core) or sum(character.isupper() for character in letters) > 1
    if spelled and _APART.fullmatch(core):
        return _PARTED * len(letters)
    web = _WEB if not spelled and core.casefold().partition(".")[0] == "www" else 0
    return web + sum(_weight(character, spelled) for character in core)


def _weight(character: str, spelled: bool) -> int:
    if character.isdigit():
        return _DIGIT
    if character.isalpha():
        return _NAME if spelled else 1
    return 0 if character in "'\u2019-" or character.isspace() else _SIGN


def spoken_seconds(word: str) -> float:
    """Approximate seconds that a written word takes to say."""
    return WORD_SECONDS + LETTER_SECONDS * spoken_letters(word)


def text_seconds(text: str) -> float:
    """Approximate seconds that a text takes to say."""
    return sum(map(spoken_seconds, words_of(text)))


def is_sparse(text: str, speech: float) -> bool:
    """Whether a text takes less than half as long to say as these seconds of speech."""
    return 2 * text_seconds(text) < speech


def is_followed_by_pause(word: str) -> bool:
    """Whether a written word ends a sentence or a part of one, by its last mark."""
    return word[-1:] in _PAUSES


def total_letters(words: Iterable[str]) -> int:
    """Number of letters of words as spoken."""
    return sum(map(spoken_letters, words))


def spread(texts: Sequence[str], speech: Mask) -> list[TimedText]:
    """Spread words over the frames with speech, in proportion to their letters."""
    frames = np.flatnonzero(speech)
    if not len(frames):
        frames = np.arange(max(1, len(speech)))
    weights = np.cumsum([0] + [1 + total_letters([text]) for text in texts])
    shares = np.minimum((weights / max(1, weights[-1]) * len(frames)).astype(int), len(frames) - 1)
    edges = [float(edge) / FRAMES_PER_SECOND for edge in frames[shares]]
    return [TimedText(a, b, text) for (a, b), text in zip(pairwise(edges), texts, strict=True)]
