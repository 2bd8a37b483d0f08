"""Finds speech inside a window without words, from the decoder's attention.

A decoder that skips a sentence leaves no trace in its probabilities. Its attention shows it: the word
before the skipped speech lasts far longer than it takes to say, or end-of-text comes while somebody still
speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_batch.models.recognizer import TimedText
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask, median
from asr_batch.pipeline.text.spoken import is_followed_by_pause, spoken_seconds
from asr_batch.pipeline.thresholds import (
    DRAWN_OUT,
    FASTEST,
    LINGERING,
    NUCLEI_WEIGHT,
    NUCLEUS_SECONDS,
    SLOW_WORDS,
    SPARE,
)
from asr_batch.pipeline.windows.planning import pause_score

_BACK, _ON = 1.5, 1.0  # seconds around a gap in which its bounding pauses are searched
_SLACK = 8  # frames: resolution of word positions


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames [start, end) of a window to decode again, between pauses; they contain words [first, last).

    `missing`: seconds of speech that these words do not account for.
    """

    first: int
    last: int
    start: int
    end: int
    missing: float


def missing(words: Sequence[TimedText], speech: Mask, nuclei: Mask) -> float:
    """Seconds of speech in the stretch that its `words` account for least; 0 without words."""
    return _worst(_excesses(words, speech, nuclei))[2] if words else 0.0


def bare_stretches(
    words: Sequence[TimedText], speech: Mask, nuclei: Mask, least: float
) -> Iterator[tuple[int, int]]:
    """Frames [start, end) of a window with at least `least` seconds of speech without words."""
    for first, last, _ in _runs(words, speech, nuclei, least):
        yield _extent(words, first, last, len(speech))


def find_gaps(
    words: Sequence[TimedText], speech: Mask, nuclei: Mask, level: Float32, least: float
) -> list[Gap]:
    """Stretches of a window with at least `least` seconds of speech without words, in order of time.

    `nuclei`: frames of syllables (:mod:`asr_batch.pipeline.audio.syllables`). Stretches with the same pauses
    or words are merged.
    """
    gaps = sorted(
        (_widened(words, run, speech, level) for run in _runs(words, speech, nuclei, least)),
        key=lambda gap: gap.start,
    )
    out: list[Gap] = []
    for gap in gaps:
        if out and (gap.start < out[-1].end or gap.first < out[-1].last):
            before = out.pop()
            gap = Gap(
                min(before.first, gap.first),
                max(before.last, gap.last),
                min(before.start, gap.start),
                max(before.end, gap.end),
                before.missing + gap.missing,
            )
        out.append(gap)
    return out


def _runs(
    words: Sequence[TimedText], speech: Mask, nuclei: Mask, least: float
) -> Iterator[tuple[int, int, float]]:
    """Runs of words [first, last) that account least for their speech, worst first, with the excess."""
    left = _excesses(words, speech, nuclei) if words else []
    while left:
        first, last, excess = _worst(left)
        if excess < least:
            return
        yield first, last, excess
        left[first:last] = [0.0] * (last - first)


def _extent(words: Sequence[TimedText], first: int, last: int, frames: int) -> tuple[int, int]:
    ends = _ends(words, frames)
    start = ends[first - 1] if first else 0
    if first < len(words):
        start = round((words[first].start + spoken_seconds(words[first].text)) * FRAMES_PER_SECOND)
    return min(start, ends[last - 1]), ends[last - 1]


def _ends(words: Sequence[TimedText], frames: int) -> list[int]:
    """The end frame of each word, and of the window."""
    return [min(round(word.end * FRAMES_PER_SECOND), frames) for word in words] + [frames]


def _excesses(words: Sequence[TimedText], speech: Mask, nuclei: Mask) -> list[float]:
    """Seconds of speech in each word's time beyond its spoken duration, and finally those after all words.

    The expected duration follows the pace of the window's words. A word that is drawn out has no more
    syllables than usual; one that hides a skipped word has.
    """
    starts = [round(word.start * FRAMES_PER_SECOND) for word in words]
    ends = _ends(words, len(speech))
    starts.append(ends[-2] if words else 0)
    times = list(zip(starts, ends, strict=True))
    spoken = [float(np.count_nonzero(speech[a:b])) / FRAMES_PER_SECOND for a, b in times]
    voiced = nuclei & speech
    syllables = [int(np.count_nonzero(voiced[a:b])) for a, b in times[: len(words)]]
    usual = [spoken_seconds(word.text) for word in words]
    pauses = [LINGERING if is_followed_by_pause(word.text) else 0.0 for word in words]
    said = [max(s - pause, 0.0) / a for s, pause, a in zip(spoken, pauses, usual, strict=False) if s]
    pace = max(FASTEST, median(said)) if len(said) >= SLOW_WORDS else 1.0
    out = [
        seconds - pace * most - pause - SPARE + _hidden(count, pace, most)
        for seconds, most, pause, count in zip(spoken, usual, pauses, syllables, strict=False)
    ]
    return [*out, spoken[-1]]


def _hidden(syllables: int, pace: float, usual: float) -> float:
    """Seconds that the syllables heard in a word's time add to what its duration says."""
    return max(-DRAWN_OUT, NUCLEI_WEIGHT * pace * (NUCLEUS_SECONDS * syllables - usual))


def _worst(excesses: Sequence[float]) -> tuple[int, int, float]:
    """The run [first, last) of neighbours with the largest sum, and that sum."""
    best = (0, 0, 0.0)
    total, first = 0.0, 0
    for index, value in enumerate(excesses):
        if total <= 0:
            total, first = 0.0, index
        total += value
        if total > best[2]:
            best = (first, index + 1, total)
    return best


def _widened(words: Sequence[TimedText], run: tuple[int, int, float], speech: Mask, level: Float32) -> Gap:
    """The gap extended to a pause before it and a pause after it, with the words in between."""
    first, last, excess = run
    score = pause_score(level, speech.astype(np.float32))
    start, end = _extent(words, first, last, len(speech))
    left = _best(score, start - _BACK * FRAMES_PER_SECOND, start + 30)
    right = _best(score, max(left + 10, end - 10), end + _ON * FRAMES_PER_SECOND)
    starts = [word.start * FRAMES_PER_SECOND for word in words]
    return Gap(
        sum(at < left - _SLACK for at in starts),
        sum(at < right - _SLACK for at in starts),
        left,
        right,
        excess,
    )


def _best(score: Float32, low: float, high: float) -> int:
    """The best place for a cut in [low, high); an edge of the window counts as one."""
    first, last = max(0, round(low)), min(len(score), round(high))
    if low <= 0 or last <= first:
        return 0 if low <= 0 else len(score)
    if high >= len(score):
        return len(score)
    return first + int(np.argmin(score[first:last]))
