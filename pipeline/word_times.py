"""Times of words in the file: from the decoder's attention where it has them, else spread over the speech."""

from __future__ import annotations

import numpy as np

from asr_batch.manifests.records import WindowRecord, Word
from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.records import Take
from asr_batch.pipeline.text.words import words_of


def spread_words(
    record: WindowRecord, result: WindowResult, take: Take, first: int, last: int
) -> tuple[tuple[Word, ...], bool]:
    """The kept words [first, last) with times in the file, and whether the times are only approximate."""
    texts = words_of(result.text)
    timed = result.words
    if timed is not None and [w.word.strip() for w in timed] == texts:
        words = [Word(record.start + w.start, record.start + w.end, w.word.strip(), w.prob) for w in timed]
        return _inside(words[first:last], record), False
    return _inside(_spread(texts, record, result, take)[first:last], record), True


def _spread(texts: list[str], record: WindowRecord, result: WindowResult, take: Take) -> list[Word]:
    """Words over the frames that hold speech, each as long as its letters ask for."""
    frames = np.flatnonzero(take.heard)
    if not len(frames):
        frames = np.arange(len(take.heard))
    if not len(frames):
        frames = np.zeros(1, np.int64)
    shares = np.cumsum([0] + [len(text) + 1 for text in texts]) / max(1, sum(len(text) + 1 for text in texts))
    places = frames[np.minimum((shares * len(frames)).astype(int), len(frames) - 1)] / FRAMES_PER_SECOND
    prob = float(np.exp(min(0.0, result.avg_logprob)))
    return [
        Word(record.start + float(places[i]), record.start + float(places[i + 1]), text, prob)
        for i, text in enumerate(texts)
    ]


def _inside(words: list[Word], record: WindowRecord) -> tuple[Word, ...]:
    """The words with times that do not decrease and stay inside what was kept of the window."""
    out: list[Word] = []
    place = record.keep_start
    for word in words:
        start = min(max(word.start, place), record.keep_end)
        end = min(max(word.end, start), record.keep_end)
        out.append(Word(start, end, word.word, word.prob))
        place = start
    return tuple(out)
