"""Word times from cross-attention: median filter, dynamic time warping, tokens grouped to words.

The method is that of openai/whisper's timing.py: the heads that follow the audio (`alignment_heads` of the
model's generation config, else all heads of the later half of the decoder) are normalised over the tokens,
smoothed over time and averaged; the cheapest monotone path through them gives the start of each token.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import TimedWord
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.tokenizer import WhisperTokenizer

Float32 = NDArray[np.float32]
_SECONDS = 0.02  # of one encoder position
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces: every complete character is a word of its own."""

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
    language: str | None = None,
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
    for text, first, last in group_words(tokens, tokenizer, language):
        prob = float(np.mean(probs[first:last])) if first < len(probs) else 0.0
        words.append(TimedWord(float(edges[first]), float(edges[last]), text, prob))
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


def group_words(
    tokens: Sequence[int], tokenizer: WhisperTokenizer, language: str | None
) -> list[tuple[str, int, int]]:
    """(text, first token, token after the last) of each word.

    A word begins at a token whose text begins with a space, or at every complete character in languages
    without spaces; punctuation belongs to the word before it.
    """
    groups: list[list[int]] = []
    pending: list[int] = []
    for index in range(len(tokens)):
        if not tokenizer.text_ids([tokens[index]]):
            continue
        pending.append(index)
        text = tokenizer.decode([tokens[i] for i in pending])
        if "\ufffd" in text or not text.strip():  # half of a character, or a lone space: the rest follows
            continue
        if not groups or _begins_word(text, language):
            groups.append([])
        groups[-1] += pending
        pending = []
    if pending and groups:
        groups[-1] += pending
    spans = [
        (tokenizer.decode([tokens[i] for i in group]).strip(), group[0], group[-1] + 1) for group in groups
    ]
    return [span for span in spans if span[0]]


def _begins_word(text: str, language: str | None) -> bool:
    if not text.strip(string.punctuation + string.whitespace + "。，！？、：；”“’…"):
        return False
    return text.startswith(" ") or language in _UNSPACED
