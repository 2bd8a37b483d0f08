"""Where each word of a window was heard, from the attention of its own decoding.

A decoder that skips a sentence is as sure of the rest as ever; but it never listened to the skipped part.
Every step tells how much attention each 80 ms of the window got, [tokens + 1, groups] at the end. The path
that gives each moment to one token, in order, with the most attention in all, says where each word begins,
and where end-of-text was decided. Unlike word times (:mod:`engine_words`) this costs no second run of the
decoder, and is rougher: attention is neither normalised over tokens nor smoothed over time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE, TimedText
from asr_batch.models.whisper.alignment import GROUP, group_words
from asr_batch.models.whisper.tokenizer import WhisperTokenizer

Float32 = NDArray[np.float32]
_SAMPLES = 320 * GROUP  # of one group
_FOLLOWS = 0.2  # of a token's attention in its own time, on average: with less the heads follow no speech


def word_places(
    listened: Sequence[Float32],
    tokens: Sequence[int],
    tokenizer: WhisperTokenizer,
    samples: int,
    language: str | None,
) -> tuple[TimedText, ...]:
    """The words of `tokens` with the seconds at which they were heard, in a window of so many `samples`.

    `listened`: attention per token and for end-of-text (a decoding that was cut off has none: its last
    token's place ends the last word). Nothing where that is not told, or where the heads do not follow the
    audio: nano.en keeps 0.4 to 0.8 of its attention in a token's own time, random weights 0.01.
    """
    if len(listened) < len(tokens) or not tokens:
        return ()
    groups = min(max(1, -(-samples // _SAMPLES)), len(listened[0]))
    starts, share = path_starts(np.stack(listened[: len(tokens) + 1])[:, :groups])
    if share < _FOLLOWS:
        return ()
    seconds = np.minimum(starts * (_SAMPLES / SAMPLE_RATE), samples / SAMPLE_RATE).tolist()
    seconds += [seconds[-1]] * (len(tokens) + 1 - len(seconds))
    return tuple(
        TimedText(seconds[first], seconds[last], text)
        for text, first, last in group_words(tokens, tokenizer, language)
    )


def path_starts(weights: Float32) -> tuple[NDArray[np.int64], float]:
    """The group [rows] at which each row of `weights` [rows, groups] begins, on the monotone path with the
    largest sum, and that sum per row; a row that gets no group begins where the next one does.
    """
    rows, groups = weights.shape
    sums = np.zeros((rows, groups + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    best = np.empty_like(sums)  # [i, j]: the largest sum over the first j groups and rows up to i
    best[0] = sums[0]
    for i in range(1, rows):
        best[i] = np.maximum.accumulate(best[i - 1] - sums[i]) + sums[i]
    starts = np.zeros(rows, np.int64)
    end = groups
    for i in range(rows - 1, 0, -1):
        end = starts[i] = np.argmax((best[i - 1] - sums[i])[: end + 1])
    return starts, float(best[-1, -1]) / rows
