"""Word times from cross-attention: median filter, dynamic time warping, tokens grouped to words.

The method is that of openai/whisper's timing.py: the heads that follow the audio (`alignment_heads` of the
model's generation config, else all heads of the later half of the decoder) are normalised over the tokens,
smoothed over time and averaged; the cheapest monotone path through them gives the start of each token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import TimedWord
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.tokenizer import WhisperTokenizer
from asr_batch.models.words import WORD

Float32 = NDArray[np.float32]
_SECONDS = 0.02  # of one encoder position

GROUP = 4
"""Positions of 20 ms whose attention is summed: a finer resolution finds the same missing words."""


def alignment_heads(config: WhisperConfig) -> list[tuple[int, int]]:
    """(layer, head) pairs to align with: the model's own, or all heads of the later half of its layers."""
    known = [
        (layer, head)
        for layer, head in config.alignment_heads
        if 0 <= layer < config.decoder_layers and 0 <= head < config.decoder_heads
    ]
    later = range(config.decoder_layers // 2, config.decoder_layers)
    return known or [(layer, head) for layer in later for head in range(config.decoder_heads)]


def word_times(
    tokens: Sequence[int],
    probs: Sequence[float],
    attention: Float32,
    tokenizer: WhisperTokenizer,
    *,
    seconds: float,
    filter_width: int = 7,
) -> tuple[TimedWord, ...]:
    """Words of the generated `tokens` with times in seconds from the window's start.

    `attention` [heads, len(tokens) + 1, positions] are the weights with which each token and end-of-text
    were predicted; positions after `seconds` are ignored. `probs` are the token probabilities. Special
    tokens and timestamps belong to no word. Times are monotone and inside the window.
    """
    positions = max(1, min(attention.shape[2], round(seconds / _SECONDS)))
    if not tokens:
        return ()
    starts = token_starts(attention[:, :, :positions], filter_width) * _SECONDS
    edges = np.minimum(np.maximum.accumulate(starts), seconds)
    words = []
    for text, begin, end in group_words(tokens, tokenizer):
        some = probs[int(begin) : math.ceil(end)]
        start, stop = np.interp((begin, end), range(len(edges)), edges).tolist()
        words.append(TimedWord(start, stop, text, float(np.mean(some)) if some else 0.0))
    return tuple(words)


def token_starts(attention: Float32, filter_width: int) -> NDArray[np.int64]:
    """The position [tokens] at which each row of `attention` [heads, tokens, positions] begins."""
    spread = attention.std(axis=1, keepdims=True)
    level = (attention - attention.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
    rows, columns = warp(-median_filter(level, filter_width).mean(axis=0))
    return columns[np.r_[True, np.diff(rows) > 0]]


def median_filter(values: Float32, width: int) -> Float32:
    """Median over `width` neighbours along the last axis, with reflected edges."""
    half = min(width // 2, values.shape[-1] - 1)
    if half < 1:
        return values
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=-1)
    smooth: Float32 = np.median(windows, axis=-1).astype(np.float32)
    return smooth


def warp(cost: Float32) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest monotone path through `cost` [rows, columns], from the first to the last cell."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):  # all cells of an anti-diagonal at once
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(total[i - 1, j - 1], total[i - 1, j]), total[i, j - 1])
        total[i, j] = cost[i - 1, j - 1] + before
    return _trace(total)


def _trace(total: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    i, j = total.shape[0] - 1, total.shape[1] - 1
    path = []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = np.argmin([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        i, j = i - (step != 2), j - (step != 1)
    rows, columns = np.array(path[::-1], np.int64).T
    return rows, columns


def group_words(tokens: Sequence[int], tokenizer: WhisperTokenizer) -> list[tuple[str, float, float]]:
    """(text, begin, end) of each word of the text, as :data:`asr_batch.models.words.WORD` divides it.

    In tokens: words in one token, as there are in scripts without spaces, share it equally.
    """
    pieces = list(_pieces(tokens, tokenizer))
    owners = [index for index, (text, _, _) in enumerate(pieces) for _ in text]
    found = [
        (match.group(), owners[match.start()], owners[match.end() - 1])
        for match in WORD.finditer("".join(text for text, _, _ in pieces))
    ]
    shares: list[list[int]] = [[] for _ in pieces]
    for word, (_, first, last) in enumerate(found):
        for piece in range(first, last + 1):
            shares[piece].append(word)

    def place(piece: int, word: int, end: int) -> float:
        _, first, last = pieces[piece]
        return first + (last - first) * (shares[piece].index(word) + end) / len(shares[piece])

    return [
        (text, place(first, word, 0), place(last, word, 1)) for word, (text, first, last) in enumerate(found)
    ]


def _pieces(tokens: Sequence[int], tokenizer: WhisperTokenizer) -> Iterator[tuple[str, int, int]]:
    """(text, first token, token after the last) of whole characters, spaces with what follows them."""
    pending: list[int] = []
    for index in range(len(tokens)):
        if not tokenizer.text_ids([tokens[index]]):
            continue
        pending.append(index)
        text = tokenizer.decode([tokens[i] for i in pending])
        if "\ufffd" not in text and text.strip():
            yield text, pending[0], index + 1
            pending = []
    if pending:
        yield tokenizer.decode([tokens[i] for i in pending]), pending[0], pending[-1] + 1
