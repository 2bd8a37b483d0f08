"""From a decoder's states to logits: the vocabulary in parts, each a graph of its own.

Two cores take a part each instead of half the rows each: the table, which is most of what a step reads, is
then read once. Windows that are still fed their prompt need no logits and get none.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.models.session import open_session, runtime_errors
from asr_batch.models.whisper.engine_buffers import bind
from asr_batch.models.whisper.engine_session import graph_options

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits of some windows, in parts [n, tokens] that lie side by side in the vocabulary, and the logs of
    their summed exponentials [n]. The logits may be overwritten.
    """

    parts: tuple[Float32, ...]
    norm: NDArray[np.float64]

    def rows(self, which: Sequence[int] | slice = slice(None)) -> Float32:
        """The whole rows [n, vocab] of some windows, copied."""
        return np.concatenate([part[which] for part in self.parts], axis=1)

    def of(self, which: Sequence[int]) -> Scores:
        """Some windows' scores, copied."""
        return Scores(tuple(part[which] for part in self.parts), self.norm[which])


class VocabularyGraphs:
    """The graphs of a bundle, opened; any thread may run them."""

    def __init__(self, folder: Path, provider: str) -> None:
        paths = sorted(folder.glob("vocabulary_*.onnx"))
        self.sessions: list[ort.InferenceSession] = [
            open_session(path, provider=provider, options=graph_options(1)).session for path in paths
        ]


class Vocabulary:
    """The graphs over buffers for `slots` windows: states [slots, d_model] in, scores out."""

    def __init__(self, graphs: VocabularyGraphs, slots: int) -> None:
        self._sessions = graphs.sessions
        (states,) = self._sessions[0].get_inputs()
        self.states = np.zeros((slots, states.shape[1]), np.float32)
        widths = [session.get_outputs()[0].shape[1] for session in self._sessions]
        self._logits = [np.zeros((slots, width), np.float32) for width in widths]
        self._norms = np.zeros((len(widths), slots, 1), np.float32)
        self._bindings: dict[tuple[int, int], Any] = {}

    def scores(self, count: int, pool: Executor | None = None) -> Scores:
        """Scores of the first `count` states; the parts run side by side when there is a `pool`.

        They are overwritten by the next call.
        """
        if count:
            bindings = [self._binding(part, count) for part in range(len(self._sessions))]
            run = ort.InferenceSession.run_with_iobinding
            pairs = list(zip(self._sessions, bindings, strict=True))
            with runtime_errors("vocabulary"):
                alone = pairs if pool is None else pairs[:1]
                others = [pool.submit(run, *pair) for pair in pairs[1:]] if pool else []
                for pair in alone:
                    run(*pair)
                for other in others:
                    other.result()
        norm = np.logaddexp.reduce(self._norms[:, :count, 0].astype(np.float64))
        return Scores(tuple(logits[:count] for logits in self._logits), norm)

    def _binding(self, part: int, count: int) -> Any:
        if (part, count) not in self._bindings:
            binding = self._sessions[part].io_binding()
            bind(binding, "states", self.states[:count])
            bind(binding, "logits", self._logits[part][:count], output=True)
            bind(binding, "norm", self._norms[part, :count], output=True)
            self._bindings[part, count] = binding
        return self._bindings[part, count]
