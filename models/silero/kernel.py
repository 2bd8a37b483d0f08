"""The network as one C function (models/kernels/c/silero.h)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.library import KernelSet, Weights, place, uninitialised
from asr_batch.models.silero.weights import LAYERS, Float32, halves, twiddles, weights, window


def in_order(chosen: KernelSet) -> Iterator[NDArray[Any]]:
    """The arrays of `weights` for `silero_run`."""
    yield window()
    yield np.concatenate([one.reshape(-1) for one in twiddles()])
    yield halves()
    arrays = weights()
    for name in LAYERS:
        yield chosen.word_panels(arrays[f"{name}.int16"])
        yield arrays[f"{name}.scale"]
        yield arrays.get(f"{name}.bias", arrays[f"{name}.scale"])  # of the hidden state: not read
    yield arrays["output.weight"]
    yield arrays["output.bias"]


@cache
def _weights(chosen: KernelSet) -> Weights:
    return Weights(in_order(chosen), weights())


class SileroKernel:
    """Probabilities of chunks. One thread at a time may call it."""

    def __init__(self, chosen: KernelSet) -> None:
        self._weights = _weights(chosen)
        self._run = chosen.function("silero_run")
        self._work = uninitialised(chosen.function("silero_scratch", ctypes.c_long)())

    def __call__(self, chunks: Float32, state: Float32) -> Float32:
        """Probabilities [n] of `chunks` [n, 512]; updates `state` [2, 128]."""
        given = np.ascontiguousarray(chunks, np.float32)
        chances = np.empty(len(given), np.float32)
        places = place(given), place(state), place(chances), place(self._work)
        self._run(ctypes.c_long(len(given)), self._weights.places, *places)
        return chances
