"""Speech inside a window that no word stands for: found by the words' own times, decoded alone, put back.

A decoder that skips a sentence leaves no trace in its probabilities. Its attention does: the word before
the skipped speech lasts far longer than a word takes, or end-of-text comes while somebody still speaks.
Such a stretch is decoded again on its own, from pause to pause with the words around it, and its text
replaces theirs only if it holds all of them in order: nothing that was there is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_batch.models.recognizer import TimedText
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.text.words import join_texts, normal, words_between, words_of
from asr_batch.pipeline.windows.planning import pause_score

EXCESS = 0.8
"""Seconds of speech that no word accounts for from which times of words (dynamic time warping) show a hole;
below it they are not exact enough."""

_WORD, _LETTER = 0.12, 0.08  # seconds that a word takes: so much, and so much more for each letter
_SPARE = 0.1  # seconds that any word may take longer: a sentence said slowly is no hole
_TELLING = 4  # words from which a window tells how slow its speaker is
_INVENTED = 2  # words at the start of a piece that may be made up
_BACK, _ON = 1.5, 1.0  # seconds around a hole in which a piece may start and end


@dataclass(frozen=True, slots=True)
class Hole:
    """Words [first, last) of a window, and the frames [start, end) in which more was said than they say."""

    first: int
    last: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Words [first, last) of a window, one more than there are for what lies behind them, and the seconds of
    speech there that they do not account for.
    """

    first: int
    last: int
    missing: float


def missing(words: Sequence[TimedText], speech: Mask) -> float:
    """Seconds of speech in the stretch of a window that its `words` account for least; 0 without words."""
    return _worst(_excesses(words, speech)).missing if words else 0.0


def bare_stretches(words: Sequence[TimedText], speech: Mask, least: float) -> Iterator[tuple[int, int]]:
    """Frames [start, end) of a window in which `least` seconds of speech or more have no words."""
    left = _excesses(words, speech) if words else []
    while left:
        found = _worst(left)
        if found.missing < least:
            return
        ends = _ends(words, len(speech))
        start = ends[found.first - 1] if found.first else 0
        if found.first < len(words):
            start = round((words[found.first].start + _allowed(words[found.first])) * FRAMES_PER_SECOND)
        yield min(start, ends[found.last - 1]), ends[found.last - 1]
        left[found.first : found.last] = [0.0] * (found.last - found.first)


def find_hole(words: Sequence[TimedText], speech: Mask, level: Float32, least: float = EXCESS) -> Hole | None:
    """The stretch of a window with most speech that no word accounts for, if that is `least` seconds."""
    found = _worst(_excesses(words, speech))
    return None if found.missing < least else _widened(words, found, speech, level)


def _ends(words: Sequence[TimedText], frames: int) -> list[int]:
    """The frame at which each word ends, and the window."""
    return [min(round(word.end * FRAMES_PER_SECOND), frames) for word in words] + [frames]


def _allowed(word: TimedText) -> float:
    return _WORD + _LETTER * len(normal(word.text))


def _excesses(words: Sequence[TimedText], speech: Mask) -> list[float]:
    """Seconds of speech in each word's time above what such a word takes, and last those behind all words.

    The time that a word takes is longer where most words of the window take longer.
    """
    starts = [round(word.start * FRAMES_PER_SECOND) for word in words]
    ends = _ends(words, len(speech))
    starts.append(ends[-2] if words else 0)
    spoken = [
        float(np.count_nonzero(speech[a:b])) / FRAMES_PER_SECOND for a, b in zip(starts, ends, strict=True)
    ]
    allowed = [_allowed(word) for word in words]
    slow = 1.0
    if len(words) >= _TELLING:
        slow = max(slow, float(np.median([s / a for s, a in zip(spoken, allowed, strict=False)])))
    longest = [slow * a + _SPARE for a in allowed]
    return [s - most for s, most in zip(spoken, [*longest, 0.0], strict=True)]


def _worst(excesses: Sequence[float]) -> _Stretch:
    """The run of neighbours with the largest sum."""
    best = _Stretch(0, 0, 0.0)
    total, first = 0.0, 0
    for index, value in enumerate(excesses):
        if total <= 0:
            total, first = 0.0, index
        total += value
        if total > best.missing:
            best = _Stretch(first, index + 1, total)
    return best


def _widened(words: Sequence[TimedText], found: _Stretch, speech: Mask, level: Float32) -> Hole:
    """The hole from a pause before it to a pause behind it, with the words that lie between these."""
    score = pause_score(level, speech.astype(np.float32))
    ends = _ends(words, len(speech))
    start = words[found.first].start * FRAMES_PER_SECOND if found.first < len(words) else ends[-2]
    end = ends[found.last - 1]
    left = _best(score, start - _BACK * FRAMES_PER_SECOND, start + 5)
    right = _best(score, end - 10, end + _ON * FRAMES_PER_SECOND)
    slack = 8
    first = min(found.first, len(words))
    while first and words[first - 1].start * FRAMES_PER_SECOND >= left - slack:
        first -= 1
    last = min(found.last, len(words))
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


def find_rest(words: Sequence[TimedText], speech: Mask, level: Float32, least: float = EXCESS) -> Hole | None:
    """What lies behind the longest word, without the word: first and last are both the place behind it."""
    excess = _excesses(words, speech)
    index = int(np.argmax(excess))
    if excess[index] < least:
        return None
    ends = _ends(words, len(speech))
    begin = likely = ends[index - 1] / FRAMES_PER_SECOND - 0.15 if index else 0.0
    if index < len(words):
        begin, likely = words[index].start + 0.2, words[index].start + _allowed(words[index])
    score = pause_score(level, speech.astype(np.float32))
    start = _best(score, begin * FRAMES_PER_SECOND, (likely + 0.6) * FRAMES_PER_SECOND)
    end = _best(score, ends[index] - 20, ends[index] + 15)
    place = min(index + 1, len(words))
    return Hole(place, place, start, end) if end - start >= 50 else None


def inserted(text: str, hole: Hole, piece: str) -> str | None:
    """The window's text with the piece put in, less words that stand beside it; None if none is left."""
    texts, said = words_of(text), words_of(piece)
    before = [normal(word) for word in texts[: hole.first]]
    after = [normal(word) for word in texts[hole.first :]]
    compared = [normal(word) for word in said]
    head = _repeated(before, compared)
    tail = len(compared) - _repeated(after[::-1], compared[head:][::-1])
    left = words_between(piece, head, tail)
    if not left:
        return None
    return join_texts((words_between(text, 0, hole.first), left, words_between(text, hole.first, len(texts))))


def _repeated(before: Sequence[str], said: Sequence[str]) -> int:
    """How many words at the start of `said` only repeat the end of `before`.

    A piece that begins inside a sentence may begin with a word or two that nobody said: these go too where
    two words or more follow that stand at the end of `before`.
    """
    ends = list(before)
    for invented in range(_INVENTED + 1):
        least = 2 if invented else 1
        for count in range(min(len(ends), len(said) - invented), least - 1, -1):
            if ends[len(ends) - count :] == list(said[invented : invented + count]):
                return invented + count
    return 0
