"""Fast choice of tokens: at most one pass over the logits.

Most steps are greedy, without time stamps, and after the first token. For these the kernel has found the
likeliest tokens; the graph has summed the exponentials, so that the suppressed ids are subtracted and one
arg-max per row remains. All other steps use :class:`TokenRules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.vocabulary import Scores
from asr_batch.models.whisper.rules import RIVALS, Decoding, TokenRules, logsumexp

Float32 = NDArray[np.float32]
Ids = slice | NDArray[np.int64]
_RUN = 16  # ids
_BLOCK = 32  # columns
_LEFT = 1e-3  # share of the probability outside the suppressed ids below which it is summed again


def side_by_side(ids: Sequence[int]) -> list[Ids]:
    """Split `ids` into slices of consecutive ids and one array of the others.

    Slices matter for time stamps: indexing with an array takes ten times as long.
    """
    ordered = np.unique(np.array(ids, np.int64))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
    found: list[Ids] = [slice(int(run[0]), int(run[-1]) + 1) for run in runs if len(run) >= _RUN]
    single = [run for run in runs if 0 < len(run) < _RUN]
    return [*found, np.concatenate(single)] if single else found


def _largest(rows: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Columns of the `count` largest values of each row [n, columns], in no order.

    They lie in the `count` blocks with the largest maxima, or behind the last whole block: a partition of all
    columns takes many times as long. A block's columns are a whole stride apart, because numpy compares
    vectors faster than it searches each of many short runs.
    """
    n, columns = rows.shape
    whole = columns // _BLOCK * _BLOCK
    if whole < count * _BLOCK:
        return np.argpartition(rows, -count, axis=1)[:, -count:]
    stride = whole // _BLOCK
    maxima = rows[:, :whole].reshape(n, _BLOCK, stride).max(axis=1)
    blocks = np.argpartition(maxima, -count, axis=1)[:, -count:]
    inside = (blocks[:, :, None] + stride * np.arange(_BLOCK)).reshape(n, -1)
    behind = np.broadcast_to(np.arange(whole, columns), (n, columns - whole))
    places = np.concatenate([inside, behind], axis=1)
    found = np.argpartition(np.take_along_axis(rows, places, axis=1), -count, axis=1)[:, -count:]
    return np.take_along_axis(places, found, axis=1)


def _is_plain_step(window: Decoding) -> bool:
    options = window.options
    return bool(window.tokens) and not options.timestamps


class FastRules(TokenRules):
    """:class:`TokenRules` over scores in parts; gives the same tokens."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self._suppressed: list[list[Ids]] = []  # of each part, relative to its start

    def choose(self, running: Sequence[Decoding], scores: Scores) -> None:
        """Choose the next token of each window; overwrites the scores."""
        plain = [i for i, window in enumerate(running) if _is_plain_step(window)]
        if len(plain) < len(running):
            rest = [i for i in range(len(running)) if i not in plain]
            self.step([running[i] for i in rest], scores.rows(rest))
        if plain:
            chosen = scores if len(plain) == len(running) else scores.of(plain)
            self._plain_step([running[i] for i in plain], chosen)

    def _plain_step(self, windows: Sequence[Decoding], scores: Scores) -> None:
        searched = any(window.searched for window in windows)
        if searched or scores.likely is not None:
            for window, some in zip(
                windows, self.likeliest(windows, scores, 1 + RIVALS * searched), strict=True
            ):
                self._take(window, *some[0], tuple(some[1:]) if window.searched else None)
            return
        rows, start = np.arange(len(windows)), 0
        norm = self._without_suppressed(scores)
        best, tokens = np.full(len(windows), -np.inf, np.float32), np.zeros(len(windows), np.int64)
        for part in scores.parts:
            found = part.argmax(axis=1)
            top = part[rows, found]
            tokens, best = np.where(top > best, found + start, tokens), np.maximum(top, best)
            start += part.shape[1]
        for window, token, logprob in zip(windows, tokens, best - norm, strict=True):
            self._take(window, int(token), float(logprob))

    def _without_suppressed(self, scores: Scores) -> NDArray[np.float64]:
        """Logs of the summed exponentials [n] without the suppressed ids, whose logits become -inf."""
        norm, left = scores.norm, np.ones(len(scores.norm))
        column = norm[:, None].astype(np.float32)
        for part, suppressed in zip(scores.parts, self._suppressed_of(scores.parts), strict=True):
            for ids in suppressed:
                left -= np.exp(part[:, ids] - column).sum(axis=1, dtype=np.float64)
                part[:, ids] = -np.inf
        for i in np.flatnonzero(left < _LEFT).tolist():
            norm[i], left[i] = logsumexp(scores.rows([i]))[0], 1.0
        return np.asarray(norm + np.log(left))

    def likeliest(
        self, running: Sequence[Decoding], scores: Scores, count: int
    ) -> list[list[tuple[int, float]]]:
        """The `count` most likely next tokens of each window with their log-probabilities, descending.

        Overwrites the scores.
        """
        parts: Sequence[NDArray[np.floating]] = scores.parts
        plain = all(map(_is_plain_step, running))
        if plain and scores.likely is not None:
            pairs = zip(scores.likely.ids.tolist(), scores.likely.logprobs.tolist(), strict=True)
            return [list(zip(*some, strict=True)) for some in pairs]
        if plain:
            norm = self._without_suppressed(scores)
        else:
            parts, norm = [self.allowed(running, scores.rows())], np.zeros(len(running))
        found: list[list[tuple[int, float]]] = [[] for _ in running]
        start = 0
        for part in parts:
            top = _largest(part, count)
            for some, row, ids, less in zip(found, part, top.tolist(), norm, strict=True):
                some += ((start + i, float(row[i]) - float(less)) for i in ids)
            start += part.shape[1]
        return [sorted(some, key=lambda one: (-one[1], one[0]))[:count] for some in found]

    def _suppressed_of(self, parts: Sequence[Float32]) -> list[list[Ids]]:
        if len(self._suppressed) != len(parts):
            borders = np.cumsum([0, *(part.shape[1] for part in parts)]).tolist()
            self._suppressed = [
                side_by_side([i - start for i in self._always.tolist() if start <= i < end])
                for start, end in pairwise(borders)
            ]
        return self._suppressed

    def allowed(self, running: Sequence[Decoding], rows: Float32) -> NDArray[np.float64]:
        """Log-probabilities of the tokens that the rules allow each window next; keeps `rows` [n, vocab]."""
        rows = rows.copy()
        rows[:, self._always] = -np.inf
        for row, window in zip(rows, running, strict=True):
            self._forbid(row, window)
        top = rows.max(axis=1, keepdims=True)
        shifted = (rows - top).astype(np.float64)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
