"""Counts how often a window's text says the same thing, and how often that was said.

Decoders are unsure of the number: whisper-base writes "8 8 8 8 8 8 8" for five, and "2020" for two twenties.
Pauses tell it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.retry.merging import Word
from asr_batch.pipeline.text.repetition import rounds
from asr_batch.pipeline.text.words import normal, similarity
from asr_batch.pipeline.thresholds import LEAST_SPEECH, SAME, SHORT_PAUSE
from asr_batch.pipeline.windows.utterances import utterances


def miscounted(text: str, level: Float32, speech: Mask) -> bool:
    """Whether the text is one phrase or word again and again, but not once for each utterance.

    Several rounds without a pause between them cannot be counted.
    """
    times = rounds(text)[1]
    return times > 1 and 1 < _utterances(level, speech) != times


def recounted(words: Sequence[Word], before: str, level: Float32, speech: Mask) -> bool:
    """Whether the words of all utterances say the text before again, nearer to once for each."""
    said, (same, first) = _utterances(level, speech), rounds(before)
    now, times = rounds(" ".join(word.place.text for word in words))
    return now == same and abs(times - said) < abs(first - said)


def parts(edges: Sequence[int], speech: Mask) -> list[int]:
    """The edges (frames) without those that leave a part too little speech for a word."""
    enough = LEAST_SPEECH * FRAMES_PER_SECOND
    out = [edges[0]]
    for edge in edges[1:-1]:
        if np.count_nonzero(speech[out[-1] : edge]) >= enough <= np.count_nonzero(speech[edge : edges[-1]]):
            out.append(edge)
    return [*out, edges[-1]]


def alike(words: Sequence[Word], edges: Sequence[int]) -> list[tuple[int, int]]:
    """The parts between these edges (frames) whose words are similar to those of most others like them."""
    starts = [FRAMES_PER_SECOND * word.place.start + 1 for word in words]
    places = np.searchsorted(np.array(edges[1:-1]), starts).tolist()
    texts = ["" for _ in edges[1:]]
    for word, place in zip(words, places, strict=True):
        texts[place] += normal(word.place.text)
    texts = [rounds(text)[0] for text in texts]  # a part may hold several rounds
    found = [[similarity(one, other) >= SAME for other in texts] for one in texts if one]
    most = max(found, key=sum, default=[])
    return [part for part, same in zip(pairwise(edges), most, strict=False) if same]


def _utterances(level: Float32, speech: Mask) -> int:
    return len(utterances(level, speech, SHORT_PAUSE, 0, len(level))) - 1
