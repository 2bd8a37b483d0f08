"""Silero's voice activity network (v6, 16 kHz), many chunks per call.

`silero_v6.onnx` has the published weights in a graph for any number of chunks per call; `tools/silero`
builds it. tests/models/test_silero.py compares the probabilities with those of Silero's own library.
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
"""Samples per probability: 32 ms."""

WIDTH = 128
"""Size of the LSTM's hidden state, and of its cell."""

Float32 = NDArray[np.float32]


@lru_cache(maxsize=1)
def _session() -> ort.InferenceSession:
    """The network, once per process: a session with one thread and no state between runs."""
    path = Path(str(files("asr_batch.models.silero"))) / "silero_v6.onnx"
    return ort.InferenceSession(str(path), graph_options(1), providers=["CPUExecutionProvider"])


class SileroNetwork:
    """Speech probabilities of consecutive chunks; keeps the LSTM state between calls."""

    def __init__(self) -> None:
        self._session = _session()
        self.reset()

    def reset(self) -> None:
        """Reset the LSTM state."""
        self._hidden = self._cell = np.zeros((1, 1, WIDTH), np.float32)

    def __call__(self, chunks: Float32) -> Float32:
        """Probabilities [n] of `chunks` [n, 512], float32 samples, in order. Raises WorkerFatalError."""
        given = {"chunks": chunks, "hidden": self._hidden, "cell": self._cell}
        with runtime_errors("voice activity"):
            chances, self._hidden, self._cell = self._session.run(None, given)
        heard: Float32 = chances[:, 0]
        return heard
