"""Speech inside a window that no word stands for: found by the words' own times, decoded alone, put back.

A decoder that skips a sentence leaves no trace in its probabilities. Its attention does: the word before
the skipped speech lasts far longer than a word takes. Such a stretch is decoded again on its own, from
pause to pause with the words around it, and its text replaces theirs only if it holds all of them in
order: nothing that was there is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_batch.models.recognizer import TimedWord
from asr_batch.pipeline.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.plan import pause_score
from asr_batch.pipeline.text import join_texts, normal, words_between, words_of

_WORD, _LETTER = 0.12, 0.08  # seconds that a word takes: so much, and so much more for each letter
_EXCESS = 0.9  # seconds of speech that no word accounts for
_BACK, _ON = 1.5, 1.0  # seconds around a hole in which a piece may start and end


@dataclass(frozen=True, slots=True)
class Hole:
    """Words [first, last) of a window, and the frames [start, end) in which more was said than they say."""

    first: int
    last: int
    start: int
    end: int


def find_hole(words: Sequence[TimedWord], speech: Mask, level: Float32) -> Hole | None:
    """The stretch of a window with most speech that no word accounts for, if that is 0.9 s or more."""
    excess = [_excess(word, speech) for word in words]
    best, place = 0.0, (0, 0)
    total, first = 0.0, 0
    for index, value in enumerate(excess):
        if total <= 0:
            total, first = 0.0, index
        total += value
        if total > best:
            best, place = total, (first, index + 1)
    if best < _EXCESS:
        return None
    return _widened(words, place, speech, level)


def _excess(word: TimedWord, speech: Mask) -> float:
    start, end = round(word.start * FRAMES_PER_SECOND), round(word.end * FRAMES_PER_SECOND)
    spoken = float(np.count_nonzero(speech[start:end])) / FRAMES_PER_SECOND
    return spoken - _WORD - _LETTER * len(normal(word.word))


def _widened(words: Sequence[TimedWord], place: tuple[int, int], speech: Mask, level: Float32) -> Hole:
    """The hole from a pause before it to a pause behind it, with the words that lie between these."""
    score = pause_score(level, speech.astype(np.float32))
    start = words[place[0]].start * FRAMES_PER_SECOND
    end = words[place[1] - 1].end * FRAMES_PER_SECOND
    left = _best(score, start - _BACK * FRAMES_PER_SECOND, start + 5)
    right = _best(score, end - 10, end + _ON * FRAMES_PER_SECOND)
    slack = 8
    first = next(
        i for i, w in enumerate(words) if w.start * FRAMES_PER_SECOND >= left - slack or i == place[0]
    )
    last = place[1]
    while last < len(words) and words[last].start * FRAMES_PER_SECOND < right - slack:
        last += 1
    return Hole(first, last, left, right)


def _best(score: Float32, low: float, high: float) -> int:
    """The best place for a cut in [low, high); an edge of the window counts as one."""
    first, last = max(0, round(low)), min(len(score), round(high))
    if low <= 0 or last <= first:
        return 0 if low <= 0 else len(score)
    if high >= len(score):
        return len(score)
    return first + int(np.argmin(score[first:last]))


def filled(text: str, hole: Hole, piece: str) -> str | None:
    """The window's text with the piece in place of the hole's words; None unless it holds all of these."""
    texts, said = words_of(text), words_of(piece)
    compared = [normal(word) for word in said]
    at = 0
    for word in (normal(text) for text in texts[hole.first : hole.last]):
        if not word:
            continue
        if word not in compared[at:]:
            return None
        at += compared[at:].index(word) + 1
    if len(said) <= hole.last - hole.first:
        return None
    before, after = words_between(text, 0, hole.first), words_between(text, hole.last, len(texts))
    return join_texts((before, piece, after))


def find_rest(words: Sequence[TimedWord], speech: Mask, level: Float32) -> Hole | None:
    """What lies behind the longest word, without the word: first and last are both the place behind it."""
    excess = [_excess(word, speech) for word in words]
    index = int(np.argmax(excess))
    if excess[index] < _EXCESS:
        return None
    word = words[index]
    score = pause_score(level, speech.astype(np.float32))
    likely = word.start + _WORD + _LETTER * len(normal(word.word))
    start = _best(score, (word.start + 0.2) * FRAMES_PER_SECOND, (likely + 0.6) * FRAMES_PER_SECOND)
    end = _best(score, word.end * FRAMES_PER_SECOND - 20, word.end * FRAMES_PER_SECOND + 15)
    return Hole(index + 1, index + 1, start, end) if end - start >= 50 else None


def inserted(text: str, hole: Hole, piece: str) -> str | None:
    """The window's text with the piece put in, less words that stand beside it; None if none is left."""
    texts, said = words_of(text), words_of(piece)
    before = [normal(word) for word in texts[: hole.first]]
    after = [normal(word) for word in texts[hole.first :]]
    compared = [normal(word) for word in said]
    head = _shared(before, compared)
    tail = _shared(compared[head:], after)
    left = words_between(piece, head, len(said) - tail)
    if not left:
        return None
    return join_texts((words_between(text, 0, hole.first), left, words_between(text, hole.first, len(texts))))


def _shared(left: Sequence[str], right: Sequence[str]) -> int:
    """How many words the end of the left has in common with the start of the right."""
    return max(
        n for n in range(min(len(left), len(right)) + 1) if list(left[len(left) - n :]) == list(right[:n])
    )
