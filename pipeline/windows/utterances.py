"""Where a window is divided into utterances, or in two: at quiet places in its pauses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.thresholds import LEAST_SPEECH
from asr_batch.pipeline.windows.planning import pauses, quietest, runs


def utterances(level: Float32, speech: Mask, least: float, start: int, end: int) -> list[int]:
    """Frames at which [start, end) is divided into utterances.

    These are its edges, and a quiet place in each pause of `least` seconds or more between speech. An
    utterance has enough speech for a word; from less, such as the end of a word, decoders make up a text.
    """
    enough = LEAST_SPEECH * FRAMES_PER_SECOND
    quiet = pauses(level, speech.astype(np.float32))
    voiced = np.flatnonzero(~quiet[start:end])
    edges = [start]
    if len(voiced):
        low, high = start + int(voiced[0]), start + int(voiced[-1])
        for first, last in _inside(runs(quiet), low, high):
            if last - first < least * FRAMES_PER_SECOND:
                continue
            if min(np.count_nonzero(speech[edges[-1] : first]), np.count_nonzero(speech[last:end])) >= enough:
                edges.append(quietest(level, first, last))
    return [*edges, end]


def _inside(found: Sequence[tuple[int, int]], low: int, high: int) -> Iterator[tuple[int, int]]:
    return ((first, last) for first, last in found if first > low and last < high)


def halves(level: Float32, speech: Mask) -> list[int]:
    """Frames that divide a window in two: the longest pause of its middle half, else the quietest place.

    A window under four seconds stays whole.
    """
    frames = len(level)
    if frames < 4 * FRAMES_PER_SECOND:
        return [0, frames]
    low, high = frames // 4, 3 * frames // 4
    quiet = runs(pauses(level, speech.astype(np.float32))[low:high])
    start, end = max(quiet, key=lambda run: run[1] - run[0], default=(0, high - low))
    return [0, quietest(level, low + start, low + end), frames]
