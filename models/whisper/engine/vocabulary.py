"""Decoder states to logits: the vocabulary in parts that are computed separately.

Each of two cores computes a part for all rows, so the table, which is most of what a step reads, is read
only once. Windows that are still processing their prompt need no logits and get none.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx.sessions import runtime_errors
from asr_batch.models.whisper.engine.logits import MOST_LIKELY, Bound, Float32, Part, open_part


@dataclass(frozen=True, slots=True)
class Likely:
    """The most likely tokens of several windows, [n, k]: ids and natural log-probabilities, descending."""

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits of several windows in parts [n, tokens], and the logs of their summed exponentials [n].

    The parts are adjacent in the vocabulary. The logits may be overwritten. `likely`: of the first windows,
    whose scores then do not count the ids that are always suppressed.
    """

    parts: tuple[Float32, ...]
    norm: NDArray[np.float64]
    likely: Likely | None = None

    def rows(self, which: Sequence[int] | slice = slice(None)) -> Float32:
        """Copy the whole rows [n, vocab] of some windows."""
        return np.concatenate([part[which] for part in self.parts], axis=1)

    def between(self, start: int, end: int) -> Scores:
        """The scores of adjacent windows, in the same memory."""
        return self._picked(slice(start, end))

    def of(self, which: Sequence[int]) -> Scores:
        """Copy the scores of some windows."""
        return self._picked(list(which))

    def _picked(self, which: list[int] | slice) -> Scores:
        likely = self.likely and Likely(self.likely.ids[which], self.likely.logprobs[which])
        return Scores(tuple(part[which] for part in self.parts), self.norm[which], likely)


class VocabularyGraphs:
    """The vocabulary of a bundle: its graphs, or the kernel if the processor supports it.

    `suppress`: ids that a text never has. `starts`: the first token of each part.
    """

    def __init__(self, folder: Path, provider: str, suppress: Sequence[int] = ()) -> None:
        self.parts: list[Part] = []
        self.starts: list[int] = []
        start = 0
        for path in sorted(folder.glob("vocabulary_*.onnx")):
            part = open_part(path, provider, [i - start for i in suppress])
            self.parts.append(part)
            self.starts.append(start)
            start += part.tokens


class Vocabulary:
    """The parts over buffers for `slots` windows: states [slots, d_model] in, scores out.

    Scores may be overwritten by the next ones of `beside`, too: one table of logits is enough for one thread.
    """

    def __init__(self, graphs: VocabularyGraphs, slots: int, beside: Vocabulary | None = None) -> None:
        self.states = np.zeros((slots, graphs.parts[0].d_model), np.float32)
        others = [None] * len(graphs.parts) if beside is None else beside._parts
        bound = [part.bound(self.states, other) for part, other in zip(graphs.parts, others, strict=True)]
        self._parts: list[Bound] = bound
        self._starts = graphs.starts

    def scores(self, count: int, pool: Executor | None = None, *, ruled: int = 0, most: int = 1) -> Scores:
        """Scores of the first `count` states; the parts run in parallel if there is a `pool`.

        With the kernel, those of the first `ruled` have the `most` likely tokens. The next call overwrites
        them.
        """
        norms = [np.zeros(0)] * len(self._parts)
        ruled = ruled if most <= MOST_LIKELY else 0
        asked = count, ruled, most
        if count:
            with runtime_errors("vocabulary"):
                alone = self._parts if pool is None else self._parts[:1]
                others = [pool.submit(part.run, *asked) for part in self._parts[1:]] if pool else []
                norms = [*(part.run(*asked) for part in alone), *(other.result() for other in others)]
        norm = np.logaddexp.reduce(norms)
        return Scores(
            tuple(part.logits[:count] for part in self._parts), norm, self._likely(ruled, most, norm)
        )

    def _likely(self, ruled: int, most: int, norm: NDArray[np.float64]) -> Likely | None:
        """The most likely tokens of the first `ruled` rows, from those of each part."""
        if not ruled or any(part.ids is None for part in self._parts):
            return None
        rows = np.arange(ruled)[:, None]
        found, logits = [], []
        for part, start in zip(self._parts, self._starts, strict=True):
            assert part.ids is not None
            ids = part.ids.reshape(-1)[: ruled * most].reshape(ruled, most)
            found.append(ids + np.int64(start))
            logits.append(part.logits[rows, ids])
        every, values = np.concatenate(found, axis=1), np.concatenate(logits, axis=1)
        best = np.argsort(-values, axis=1, kind="stable")[:, :most]
        return Likely(every[rows, best], values[rows, best].astype(np.float64) - norm[:ruled, None])
