"""Word times in the file: from the decoder's attention if available, else spread over the speech."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from asr_batch.manifests.records import WindowRecord, Word
from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.audit import HINT
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.text.spoken import spoken_seconds, spread
from asr_batch.pipeline.text.words import words_of
from asr_batch.pipeline.windows.planning import pauses, runs

_SHORTEST = 0.06
"""Minimum duration of a word in seconds; the resolution of attention is 0.02 to 0.08 s."""

_PAUSE = 8
"""Frames of a pause that no word spans."""

_SILENCE = 50
"""Frames that are a pause if Silero rules speech out in all of them, however loud they are: music, a door."""

_EDGE = 5
"""Frames at either end of these in which speech may have begun or not ended."""


def word_times(
    record: WindowRecord, result: WindowResult, window: DecodedWindow
) -> tuple[tuple[Word, ...], bool]:
    """The words of a window with times in the file, and whether the times are approximate.

    Times do not decrease, stay inside the kept part of the window, and no word spans a pause.
    """
    texts = words_of(result.text)
    prob = float(np.exp(min(0.0, result.avg_logprob)))
    approximate = False
    if result.words is not None and [w.word.strip() for w in result.words] == texts:
        timed = [Word(w.start, w.end, w.word.strip(), w.prob) for w in result.words]
    else:
        approximate = True
        places = result.places
        if [place.text for place in places] != texts:
            places = tuple(spread(texts, window.heard))
        timed = [Word(place.start, place.end, place.text, prob) for place in places]
    return _inside(_lengthened(_without_pauses(timed, window)), record), approximate


def _without_pauses(words: Sequence[Word], window: DecodedWindow) -> list[Word]:
    """Words that end where a pause begins and begin where one ends."""
    speech = window.speech.astype(np.float32)
    quiet = pauses(window.level.astype(np.float32), speech)
    for first, last in runs(speech < HINT):
        if last - first >= _SILENCE:
            quiet[first + _EDGE : last - _EDGE] = True
    silent = [(a / FRAMES_PER_SECOND, b / FRAMES_PER_SECOND) for a, b in runs(quiet) if b - a >= _PAUSE]
    return [_trimmed(word, silent) for word in _within(words, window.seconds)]


def _within(words: Sequence[Word], seconds: float) -> list[Word]:
    """Words that end within the window: decoded with more silence behind it, the last may lie in that."""
    return [Word(min(w.start, seconds), min(w.end, seconds), w.word, w.prob) for w in words]


def _trimmed(word: Word, silent: Sequence[tuple[float, float]]) -> Word:
    """The word on the side of each pause where it has more room."""
    start, end = word.start, word.end
    for first, last in silent:
        if last <= start or first >= end:
            continue
        before, behind = first - start, end - last
        if before >= min(behind, spoken_seconds(word.word) / 2):
            end = max(start, first)
            break
        start = min(last, end)
    return Word(start, end, word.word, word.prob)


def _lengthened(words: Sequence[Word]) -> list[Word]:
    """Words of zero duration share the time of their neighbours, in proportion to their spoken length."""
    out: list[Word] = []
    group: list[Word] = []
    for word in words:
        group.append(word)
        if word.end - group[0].start >= _SHORTEST * len(group):
            out += _shared(group)
            group = []
    while group and out and group[-1].end - group[0].start < _SHORTEST * len(group):
        group.insert(0, out.pop())
    return out + (_shared(group) if len(group) > 1 else group)


def _shared(group: Sequence[Word]) -> list[Word]:
    if len(group) == 1:
        return list(group)
    weights = np.cumsum([0.0] + [spoken_seconds(word.word) for word in group])
    start, end = group[0].start, group[-1].end
    edges = (start + (end - start) * weights / weights[-1]).tolist()
    return [Word(a, b, word.word, word.prob) for (a, b), word in zip(pairwise(edges), group, strict=True)]


def _inside(words: Sequence[Word], record: WindowRecord) -> tuple[Word, ...]:
    """The words in file time, with times that do not decrease and stay inside the kept part."""
    out: list[Word] = []
    place = record.keep_start
    for word in words:
        start = min(max(record.start + word.start, place), record.keep_end)
        end = min(max(record.start + word.end, start), record.keep_end)
        out.append(Word(start, end, word.word, word.prob))
        place = start
    return tuple(out)
