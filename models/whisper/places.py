"""Locates each word of a window by the attention of its own decoding.

A decoder that skips a sentence is as confident as ever, but it never attended to the skipped part. Every step
yields the attention on each 80 ms of the window, [tokens + 1, groups] in total. The monotone path that
assigns each moment to one token, in order, with the most attention in total, gives the start of each word and
of end-of-text. Unlike word times (:mod:`asr_batch.models.whisper.engine.words`) this needs no second run of
the decoder, but it is coarser: attention is neither normalised over tokens nor smoothed over time.
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
) -> tuple[TimedText, ...]:
    """The words of `tokens` with their times in seconds, in a window of `samples` samples.

    `listened`: attention per token and for end-of-text (missing after a truncated decoding, where the last
    token ends the last word). Empty without attention, or if the heads do not follow the audio: nano.en has
    0.4 to 0.8 of its attention in a token's own time, random weights 0.01.
    """
    if len(listened) < len(tokens) or not tokens:
        return ()
    groups = min(max(1, -(-samples // _SAMPLES)), len(listened[0]))
    starts, share = path_starts(np.stack(listened[: len(tokens) + 1])[:, :groups])
    if share < _FOLLOWS:
        return ()
    seconds = np.minimum(starts * (_SAMPLES / SAMPLE_RATE), samples / SAMPLE_RATE).tolist()
    seconds += [seconds[-1]] * (len(tokens) + 1 - len(seconds))
    words = group_words(tokens, tokenizer)
    edges = np.interp([edge for _, *edge in words], range(len(seconds)), seconds).tolist()
    return tuple(TimedText(begin, end, text) for (begin, end), (text, _, _) in zip(edges, words, strict=True))


def path_starts(weights: Float32) -> tuple[NDArray[np.int64], float]:
    """Start of each row of `weights` [rows, groups] on the best monotone path, and the sum of each row.

    A row without a group begins where the next one does.
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
