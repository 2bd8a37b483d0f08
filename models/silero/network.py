"""Silero's voice activity network (v6, 16 kHz), many chunks at once.

`silero_v6.onnx` holds the published weights in a graph that takes any number of chunks per call;
`tools/silero` makes it. How far the probabilities are from those of Silero's own library is held by
tests/models/test_silero.py.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.sessions import runtime_errors

CHUNK = 512
"""Samples of one probability: 32 ms."""

WIDTH = 128
"""Numbers in the LSTM's hidden state, and in its cell."""

Float32 = NDArray[np.float32]


@lru_cache(maxsize=1)
def _session() -> ort.InferenceSession:
    """The network, once per process: a session of one thread; it keeps nothing between runs."""
    path = Path(str(files("asr_batch.models.silero"))) / "silero_v6.onnx"
    return ort.InferenceSession(str(path), graph_options(1), providers=["CPUExecutionProvider"])


class SileroNetwork:
    """Speech probabilities of consecutive chunks; keeps its memory between calls."""

    def __init__(self) -> None:
        self._session = _session()
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._hidden = self._cell = np.zeros((1, 1, WIDTH), np.float32)

    def __call__(self, chunks: Float32) -> Float32:
        """Probabilities [n] of `chunks` [n, 512], float32 samples, in order. Raises WorkerFatalError."""
        given = {"chunks": chunks, "hidden": self._hidden, "cell": self._cell}
        with runtime_errors("voice activity"):
            chances, self._hidden, self._cell = self._session.run(None, given)
        heard: Float32 = chances[:, 0]
        return heard
