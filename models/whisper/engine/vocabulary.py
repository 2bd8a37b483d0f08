"""Decoder states to logits: the vocabulary in parts that are computed separately.

Each of two cores computes a part for all rows, so the table, which is most of what a step reads, is read
only once. Windows that are still processing their prompt need no logits and get none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.sessions import open_session, runtime_errors
from asr_batch.models.whisper.engine.buffers import bind
from asr_batch.models.whisper.kernels.library import (
    LANES,
    Arrays,
    KernelSet,
    Weights,
    kernels,
    named_weights,
    place,
    scratch,
)

Float32 = NDArray[np.float32]
_NONE = -1e30  # logit of a token that does not exist


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits of several windows in parts [n, tokens], and the logs of their summed exponentials [n].

    The parts are adjacent in the vocabulary. The logits may be overwritten.
    """

    parts: tuple[Float32, ...]
    norm: NDArray[np.float64]

    def rows(self, which: Sequence[int] | slice = slice(None)) -> Float32:
        """Copy the whole rows [n, vocab] of some windows."""
        return np.concatenate([part[which] for part in self.parts], axis=1)

    def between(self, start: int, end: int) -> Scores:
        """The scores of adjacent windows, in the same memory."""
        return Scores(tuple(part[start:end] for part in self.parts), self.norm[start:end])

    def of(self, which: Sequence[int]) -> Scores:
        """Copy the scores of some windows."""
        return Scores(tuple(part[which] for part in self.parts), self.norm[which])


class Bound(Protocol):
    """A part of the vocabulary bound to buffers; the next run overwrites `logits` [slots, tokens]."""

    logits: Float32

    def run(self, count: int) -> NDArray[np.float64]:
        """Compute the logits of the first `count` states; returns the logs of their exponential sums
        [count].
        """


class Part(Protocol):
    """A part of the vocabulary; thread-safe."""

    d_model: int

    def bound(self, states: Float32) -> Bound:
        """Bind to `states` [slots, d_model], which every run reads."""


class VocabularyGraphs:
    """The vocabulary of a bundle: its graphs, or the kernel if the processor supports it."""

    def __init__(self, folder: Path, provider: str) -> None:
        paths = sorted(folder.glob("vocabulary_*.onnx"))
        self.parts: list[Part] = [_open_kernel(path, provider) or _Graph(path, provider) for path in paths]


class Vocabulary:
    """The parts over buffers for `slots` windows: states [slots, d_model] in, scores out."""

    def __init__(self, graphs: VocabularyGraphs, slots: int) -> None:
        self.states = np.zeros((slots, graphs.parts[0].d_model), np.float32)
        self._parts = [part.bound(self.states) for part in graphs.parts]

    def scores(self, count: int, pool: Executor | None = None) -> Scores:
        """Scores of the first `count` states; the parts run in parallel if there is a `pool`.

        The next call overwrites them.
        """
        norms = [np.zeros(0)] * len(self._parts)
        if count:
            with runtime_errors("vocabulary"):
                alone = self._parts if pool is None else self._parts[:1]
                others = [pool.submit(part.run, count) for part in self._parts[1:]] if pool else []
                norms = [*(part.run(count) for part in alone), *(other.result() for other in others)]
        return Scores(tuple(part.logits[:count] for part in self._parts), np.logaddexp.reduce(norms))


class _Graph:
    """A part's graph in ONNX Runtime."""

    def __init__(self, path: Path, provider: str) -> None:
        self.session = open_session(path, provider=provider, options=graph_options(1)).session
        self.d_model: int = self.session.get_inputs()[0].shape[1]

    def bound(self, states: Float32) -> Bound:
        return _BoundGraph(self.session, states)


class _BoundGraph:
    """Caches one binding for each number of rows."""

    def __init__(self, session: ort.InferenceSession, states: Float32) -> None:
        self._session, self._states = session, states
        self.logits = np.zeros((len(states), session.get_outputs()[0].shape[1]), np.float32)
        self._norm = np.zeros((len(states), 1), np.float32)
        self._bindings: dict[int, Any] = {}

    def run(self, count: int) -> NDArray[np.float64]:
        if count not in self._bindings:
            binding = self._bindings[count] = self._session.io_binding()
            bind(binding, "states", self._states[:count])
            bind(binding, "logits", self.logits[:count], output=True)
            bind(binding, "norm", self._norm[:count], output=True)
        self._session.run_with_iobinding(self._bindings[count])
        return self._norm[:count, 0].astype(np.float64)


def _open_kernel(path: Path, provider: str) -> Part | None:
    chosen = kernels(provider)
    if chosen is None:
        return None
    arrays = named_weights(path, "vocabulary.")
    table = arrays.get("vocabulary.int8")
    return None if table is None or table.shape[1] % LANES else _Kernel(chosen, arrays)


class _Kernel:
    """A part's table for `vocabulary_run` of c/vocabulary.h, which reads it once for all rows."""

    def __init__(self, chosen: KernelSet, arrays: Arrays) -> None:
        table, scale = arrays["vocabulary.int8"], arrays["vocabulary.scale"]
        self.run = chosen.function("vocabulary_run")
        self.scratch = chosen.function("vocabulary_scratch", ctypes.c_long)
        self.tokens, self.d_model = table.shape
        self.columns = -(-self.tokens // LANES) * LANES
        more = self.columns - self.tokens
        bias = np.pad(np.zeros(self.tokens, np.float32), (0, more), constant_values=_NONE)
        whole = np.pad(table, ((0, more), (0, 0))) if more else table
        self.weights = Weights(chosen.linear(whole.T, np.pad(scale, (0, more)), bias))

    def bound(self, states: Float32) -> Bound:
        return _BoundKernel(self, states)


class _BoundKernel:
    """Logits are stored in whole vectors of tokens."""

    def __init__(self, part: _Kernel, states: Float32) -> None:
        self._part, self._states, slots = part, states, len(states)
        self._all = scratch((slots, part.columns), np.float32)
        self.logits = self._all[:, : part.tokens]
        self._norm = np.zeros((slots, 2), np.float32)
        self._scratch = scratch((part.scratch(slots, part.d_model),))

    def run(self, count: int) -> NDArray[np.float64]:
        part = self._part
        sizes = (ctypes.c_long(size) for size in (count, part.d_model, part.columns))
        given, stride = (part.weights.places, place(self._states), place(self._all)), part.columns
        made = (place(self._norm), place(self._scratch))
        part.run(*sizes, *given, ctypes.c_long(stride), *made)
        largest, total = self._norm[:count].T.astype(np.float64)
        norm: NDArray[np.float64] = largest + np.log(total)
        return norm
