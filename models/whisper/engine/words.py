"""Word times from cross-attention, by the method of openai/whisper's timing.py.

The finished text is fed to the window once more, and the cross-attention of the alignment heads is kept:
[heads, tokens, positions]. It is normalised over the tokens, smoothed by a median over time and averaged.
Its negative is a cost matrix, through which dynamic time warping finds the cheapest monotone path. A word
starts where the path enters its first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arrays import Array
from asr_batch.models.recognizer import TimedWord
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.decoder import Heard, Listener
from asr_batch.models.whisper.tokenizer import WhisperTokenizer

Float = NDArray[np.float64]
_POSITIONS_PER_SECOND = 50
_SAMPLES_PER_POSITION = 320
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # languages written without spaces
_OPENING = frozenset("\"'“¿([{-«")  # punctuation that belongs to the word after it


@dataclass(frozen=True, slots=True)
class Piece:
    """A word as its tokens: `text` with its leading space, tokens [start, end) of the text."""

    text: str
    start: int
    end: int


class WordAligner:
    """Aligns finished windows, one at a time, with the attention from `listen`."""

    def __init__(self, listen: Listener, config: WhisperConfig, tokenizer: WhisperTokenizer) -> None:
        self._listen, self._config, self._tokenizer = listen, config, tokenizer

    def align(
        self,
        cross: Heard,
        prompt: Sequence[int],
        tokens: Sequence[int],
        samples: int,
        language: str | None,
    ) -> tuple[TimedWord, ...]:
        """Words of the window with the inputs `cross`, from its prompt, text and length."""
        text = self._tokenizer.text_ids(tokens)
        pieces = split_words(text, self._tokenizer, language)
        positions = -(-samples // _SAMPLES_PER_POSITION)
        if not pieces or positions < 1:
            return ()
        fed = [*self._start(prompt), *text]
        fed = fed[-self._config.max_target_positions :]
        attention, logits = self._listen(cross, fed)
        rows = len(text) + 1  # the token before the text predicts its first one
        matrix = attention_matrix(attention[:, :, :positions], self._config.median_filter_width)
        starts = token_starts(matrix[-rows:])
        probabilities = _probabilities(logits[-rows:-1, : self._config.eot], text)
        return _timed(pieces, starts, probabilities, samples / 16000)

    def _start(self, prompt: Sequence[int]) -> list[int]:
        """The prompt from start-of-transcript on, ending in `<|notimestamps|>`."""
        start = list(prompt)[list(prompt).index(self._config.sot) :]
        last = self._config.no_timestamps
        return start if last is None or start[-1] == last else [*start, last]


def _probabilities(logits: Array, text: Sequence[int]) -> Float:
    rows = logits.astype(np.float64)
    rows = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(rows[np.arange(len(text)), list(text)] / rows.sum(axis=1))


def split_words(ids: Sequence[int], tokenizer: WhisperTokenizer, language: str | None) -> list[Piece]:
    """Words of the text `ids`.

    A word begins at a token that begins with a space, or, in languages without spaces, at every complete
    character. Opening punctuation belongs to the word after it.
    """
    pieces: list[Piece] = []
    start = 0
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[start:end])
        if "\ufffd" in text and end < len(ids):  # a character that the next token completes
            continue
        begins = not pieces or text.startswith(" ") or language in _UNSPACED
        if pieces and _is_opening(pieces[-1].text):
            begins = False
        if begins:
            pieces.append(Piece(text, start, end))
        else:
            last = pieces[-1]
            pieces[-1] = Piece(last.text + text, last.start, end)
        start = end
    return [piece for piece in pieces if piece.text.strip()]


def _is_opening(text: str) -> bool:
    return bool(text.strip()) and set(text.strip()) <= _OPENING


def attention_matrix(weights: Array, filter_width: int) -> Float:
    """Mean over heads of normalised, smoothed `weights` [heads, tokens, positions]."""
    weights = weights.astype(np.float64)
    weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-12)
    spread = weights.std(axis=1, keepdims=True)
    weights = (weights - weights.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-12)
    return np.asarray(_median(weights, filter_width).mean(axis=0))


def _median(values: Float, width: int) -> Float:
    """Running median of odd `width` along the last axis, with reflected edges."""
    half = width // 2
    if half == 0 or values.shape[-1] <= half:
        return values
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=-1)
    return np.asarray(np.partition(windows, half, axis=-1)[..., half])


def token_starts(matrix: Float) -> NDArray[np.int64]:
    """Position at which the cheapest path through -`matrix` [tokens, positions] enters each token's row."""
    tokens, positions = matrix.shape
    cost = _accumulated(-matrix)
    starts = np.zeros(tokens, np.int64)
    i, j = tokens, positions
    while i > 1 or j > 1:
        starts[i - 1] = j - 1
        steps = ((cost[i - 1, j - 1], i - 1, j - 1), (cost[i - 1, j], i - 1, j), (cost[i, j - 1], i, j - 1))
        _, i, j = min(steps, key=lambda step: step[0])
    starts[0] = 0
    return starts


def _accumulated(costs: Float) -> Float:
    """Cost of the cheapest path to each cell, one row and column larger than `costs`, with infinite edges.

    Computed along the diagonals, whose cells are independent of each other.
    """
    n, m = costs.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(total[i - 1, j - 1], total[i - 1, j]), total[i, j - 1])
        total[i, j] = costs[i - 1, j - 1] + before
    return total


def _timed(
    pieces: Sequence[Piece], starts: NDArray[np.int64], probabilities: Float, duration: float
) -> tuple[TimedWord, ...]:
    words = []
    for piece in pieces:
        start, end = (
            min(float(starts[at]) / _POSITIONS_PER_SECOND, duration) for at in (piece.start, piece.end)
        )
        mean = float(probabilities[piece.start : piece.end].mean())
        words.append(TimedWord(start, max(start, end), piece.text.strip(), mean))
    return tuple(words)
