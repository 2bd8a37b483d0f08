"""A part of the vocabulary, states to logits: as a graph, as a kernel, and as the same in numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.library import (
    LANES,
    Arrays,
    KernelSet,
    Weights,
    kernels,
    named_weights,
    place,
    scratch,
)
from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.sessions import open_session
from asr_batch.models.whisper.engine.buffers import bind
from asr_batch.models.whisper.kernels.exact.products import Linear
from asr_batch.models.whisper.kernels.exact.vocabulary import likeliest, logits_of, sums_of

if TYPE_CHECKING:
    import onnxruntime as ort

Float32 = NDArray[np.float32]
_NONE = -1e30  # logit of a token that does not exist

MOST_LIKELY = 16
"""Most tokens of a row that the kernel can find."""


class Bound(Protocol):
    """A part of the vocabulary bound to buffers; the next run overwrites `logits` [slots, tokens]."""

    logits: Float32

    @property
    def ids(self) -> NDArray[np.int32] | None:
        """Room for the likeliest tokens, if it finds them."""

    def run(self, count: int, ruled: int, most: int) -> NDArray[np.float64]:
        """Compute the logits of the first `count` states; returns the logs of their exponential sums
        [count].

        A part with `ids` leaves the suppressed ids out of the first `ruled` rows, and writes their `most`
        most likely tokens to `ids` [ruled, most], numbered from its first token.
        """


class Part(Protocol):
    """A part of the vocabulary; thread-safe."""

    d_model: int
    tokens: int

    def bound(self, states: Float32, beside: Bound | None = None) -> Bound:
        """Bind to `states` [slots, d_model], which every run reads.

        It may write its logits where `beside`, a binding of the same part, has its own.
        """


class _Graph:
    """A part's graph in ONNX Runtime."""

    def __init__(self, path: Path, provider: str) -> None:
        self.session = open_session(path, provider=provider, options=graph_options(1)).session
        self.d_model: int = self.session.get_inputs()[0].shape[1]
        self.tokens: int = self.session.get_outputs()[0].shape[1]

    def bound(self, states: Float32, beside: Bound | None = None) -> Bound:
        return _BoundGraph(self.session, states)


class _BoundGraph:
    """Caches one binding for each number of rows."""

    ids = None

    def __init__(self, session: ort.InferenceSession, states: Float32) -> None:
        self._session, self._states = session, states
        self.logits = np.zeros((len(states), session.get_outputs()[0].shape[1]), np.float32)
        self._norm = np.zeros((len(states), 1), np.float32)
        self._bindings: dict[int, Any] = {}

    def run(self, count: int, ruled: int = 0, most: int = 1) -> NDArray[np.float64]:
        if count not in self._bindings:
            binding = self._bindings[count] = self._session.io_binding()
            bind(binding, "states", self._states[:count])
            bind(binding, "logits", self.logits[:count], output=True)
            bind(binding, "norm", self._norm[:count], output=True)
        self._session.run_with_iobinding(self._bindings[count])
        return self._norm[:count, 0].astype(np.float64)


def open_part(path: Path, provider: str, suppress: Sequence[int]) -> Part:
    """The part in the graph `path`: the kernel, or the same in numpy, if they compute it; else the graph.

    `suppress`: ids that a text never has, numbered from the first token of the part.
    """
    chosen = kernels(provider)
    if chosen is None:
        return _Graph(path, provider)
    arrays = named_weights(path, "vocabulary.")
    table = arrays.get("vocabulary.int8")
    if table is None or table.shape[1] % LANES:
        return _Graph(path, provider)
    made = _Table(arrays, suppress)
    del arrays, table  # before the weights are copied once more
    return _Kernel(chosen, made) if chosen.compiled else _Exact(made)


class _Table:
    """A part's table with whole vectors of tokens: `weight` [columns, d_model], `scale`, `bias` and `rules`,
    the bias of rows without the ids `suppress` [columns].
    """

    def __init__(self, arrays: Arrays, suppress: Sequence[int] = ()) -> None:
        table, scale = arrays["vocabulary.int8"], arrays["vocabulary.scale"]
        self.tokens, self.d_model = table.shape
        self.columns = -(-self.tokens // LANES) * LANES
        more = self.columns - self.tokens
        self.bias = np.pad(np.zeros(self.tokens, np.float32), (0, more), constant_values=_NONE)
        self.weight = np.pad(table, ((0, more), (0, 0))) if more else table
        self.scale = np.pad(scale, (0, more))
        self.rules = self.bias.copy()
        self.rules[[i for i in suppress if 0 <= i < self.tokens]] = _NONE


class _Exact:
    """A part's table for the same in numpy."""

    def __init__(self, table: _Table) -> None:
        self.tokens, self.d_model = table.tokens, table.d_model
        self.open = Linear(table.weight.T, table.scale, table.bias)
        self.ruled = self.open.with_bias(table.rules)

    def bound(self, states: Float32, beside: Bound | None = None) -> Bound:
        return _BoundExact(self, states)


class _BoundExact:
    def __init__(self, part: _Exact, states: Float32) -> None:
        self._part, self._states = part, states
        self.logits = np.zeros((len(states), part.tokens), np.float32)
        self.ids: NDArray[np.int32] = np.zeros((len(states), MOST_LIKELY), np.int32)

    @np.errstate(all="ignore")
    def run(self, count: int, ruled: int = 0, most: int = 1) -> NDArray[np.float64]:
        states = self._states[:count]
        found = logits_of(self._part.ruled, self._part.open, states, ruled)
        largest, total = (part.astype(np.float64) for part in sums_of(found))
        self.logits[:count] = found[:, : self._part.tokens]
        self.ids.reshape(-1)[: ruled * most] = likeliest(found[:ruled], most).reshape(-1)
        flaws = np.where(np.isfinite(states).all(axis=1), 0.0, np.nan)
        return np.asarray(largest + flaws + np.log(total))


class _Kernel:
    """A part's table for `vocabulary_run` of c/vocabulary.h, which reads it once for all rows."""

    def __init__(self, chosen: KernelSet, table: _Table) -> None:
        self.run = chosen.function("vocabulary_run")
        self.scratch = chosen.function("vocabulary_scratch", ctypes.c_long)
        self.tokens, self.d_model, self.columns = table.tokens, table.d_model, table.columns
        linear = chosen.linear(table.weight.T, table.scale, table.bias)
        self.weights = Weights(chain(linear, [table.rules]), {"table": table.weight, "bias": table.bias})

    def bound(self, states: Float32, beside: Bound | None = None) -> Bound:
        found = beside.whole if isinstance(beside, _BoundKernel) else None
        return _BoundKernel(self, states, found)


class _BoundKernel:
    """Logits are stored in whole vectors of tokens."""

    def __init__(self, part: _Kernel, states: Float32, whole: Float32 | None) -> None:
        self._part, self._states, slots = part, states, len(states)
        if whole is None or len(whole) < slots:
            whole = scratch((slots, part.columns), np.float32)
        self.whole = whole[:slots]
        self.logits = self.whole[:, : part.tokens]
        self._norm = np.zeros((slots, 2), np.float32)
        self.ids: NDArray[np.int32] = np.zeros((slots, MOST_LIKELY), np.int32)
        sizes = (ctypes.c_long(size) for size in (slots, part.d_model, part.columns))
        self._scratch = scratch((part.scratch(*sizes),))

    def run(self, count: int, ruled: int = 0, most: int = 1) -> NDArray[np.float64]:
        part = self._part
        sizes = (ctypes.c_long(size) for size in (count, part.d_model, part.columns))
        given = part.weights.places, place(self._states), place(self.whole), place(self._norm)
        asked = ctypes.c_long(ruled), ctypes.c_long(most)
        part.run(*sizes, *given, *asked, place(self.ids), place(self._scratch))
        largest, total = self._norm[:count].T.astype(np.float64)
        norm: NDArray[np.float64] = largest + np.log(total)
        return norm
