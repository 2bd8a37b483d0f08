"""The encoder as one C function (c/encoder.h): three quarters of the graph's time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np

from asr_batch.models.kernels.library import (
    LANES,
    WIDEST,
    Array,
    Arrays,
    Float32,
    KernelSet,
    Scratch,
    Weights,
    place,
)

_LAYER = (
    "self_attn_layer_norm",
    "self_attn.q_proj",
    "self_attn.kv_proj",
    "self_attn.out_proj",
    "final_layer_norm",
    "fc1",
    "fc2",
)


def fits(arrays: Arrays, heads: int) -> bool:
    """Whether all weights exist, with sizes that the kernel supports."""
    try:
        d, sound, inner = (
            arrays[f"encoder.{name}.int8"].shape[axis]
            for name, axis in (("conv1", 1), ("conv1", 0), ("layers.0.fc1", 1))
        )
    except KeyError:
        return False
    whole = not any(size % LANES for size in (d, sound, inner)) and d % heads == 0
    return whole and d // heads <= WIDEST and d // heads % LANES == 0


def _in_order(chosen: KernelSet, arrays: Arrays, layers: int) -> Iterator[Array]:
    """The arrays of `weights` for `encoder_run`."""
    yield from chosen.parameters(arrays, "encoder.conv1")
    yield from chosen.parameters(arrays, "encoder.conv2")
    yield arrays["encoder.embed_positions.weight"]
    for name in (f"encoder.layers.{i}.{part}" for i in range(layers) for part in _LAYER):
        if name.endswith("kv_proj"):  # apart, because the values' columns must begin a panel
            weight, scale = arrays[f"{name}.int8"], arrays[f"{name}.scale"]
            for part in np.split(np.arange(len(scale)), 2):
                yield from chosen.linear(weight[:, part], scale[part], None)
        else:
            yield from chosen.parameters(arrays, name)
    yield from chosen.parameters(arrays, "encoder.layer_norm")


class EncoderKernel:
    """Encodes one window per call.

    Any number of threads may call it; each has its own scratch memory, enough for the longest window so
    far.
    """

    def __init__(self, chosen: KernelSet, arrays: Arrays, heads: int) -> None:
        sound, d = arrays["encoder.conv1.int8"].shape
        layers = sum(name.endswith(".fc1.int8") for name in arrays)
        self.n_mels, self._width = sound // 3, d
        self._sizes = (d, heads, arrays["encoder.layers.0.fc1.int8"].shape[1], layers)
        self._weights = Weights(_in_order(chosen, arrays, layers), arrays)
        self._run = chosen.function("encoder_run")
        self._scratch = chosen.function("encoder_scratch", ctypes.c_long)
        self._work = Scratch()

    def __call__(self, log_mel: Float32) -> Float32:
        """Hidden states [1, positions, d_model] of `log_mel` [1, n_mels, 2 * positions]."""
        positions = log_mel.shape[2] // 2
        sizes = (self.n_mels, positions, *self._sizes)
        shape = (ctypes.c_long * len(sizes))(*sizes)
        work = self._work(self._scratch(shape))
        given = np.ascontiguousarray(log_mel, np.float32)
        hidden = np.empty((1, positions, self._width), np.float32)
        self._run(shape, self._weights.places, place(given), place(hidden), place(work))
        return hidden
