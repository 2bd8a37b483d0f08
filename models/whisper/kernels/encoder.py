"""The encoder as one function (`encoder_run` of kernels.c): three quarters of the graph's time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from threading import local

import numpy as np

from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.kernels.library import (
    LANES,
    PANEL,
    Array,
    Arrays,
    Float32,
    Weights,
    library,
    linear,
    named_weights,
    place,
    scratch,
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


def open_encoder_kernel(folder: Path, provider: str) -> EncoderKernel | None:
    """The kernel over the weights of a bundle; None where ONNX Runtime is to run the graph.

    Raises ModelError when the bundle's graph is not what it claims to be.
    """
    functions = library(provider)
    if functions is None:
        return None
    arrays = named_weights(folder / "encoder.onnx", "encoder.")
    heads = WhisperConfig.from_folder(folder).encoder_heads
    return EncoderKernel(functions, arrays, heads) if fits(arrays, heads) else None


def fits(arrays: Arrays, heads: int) -> bool:
    """Whether the weights are there, of sizes that the kernel takes."""
    try:
        d, sound, inner = (
            arrays[f"encoder.{name}.int8"].shape[axis]
            for name, axis in (("conv1", 1), ("conv1", 0), ("layers.0.fc1", 1))
        )
    except KeyError:
        return False
    whole = not any(size % LANES for size in (d, sound, inner)) and d % heads == 0
    return whole and d // heads <= PANEL and d // heads % LANES == 0


def _in_order(arrays: Arrays, layers: int) -> Iterator[Array]:
    """What `encoder_run` wants as `weights`."""
    yield from _parameters(arrays, "encoder.conv1")
    yield from _parameters(arrays, "encoder.conv2")
    yield arrays["encoder.embed_positions.weight"]
    for name in (f"encoder.layers.{i}.{part}" for i in range(layers) for part in _LAYER):
        yield from _parameters(arrays, name)
    yield from _parameters(arrays, "encoder.layer_norm")


def _parameters(arrays: Arrays, name: str) -> Iterator[Array]:
    if f"{name}.int8" in arrays:
        yield from linear(arrays[f"{name}.int8"], arrays[f"{name}.scale"], arrays.get(f"{name}.bias"))
    else:
        yield arrays[f"{name}.weight"]
        yield arrays[f"{name}.bias"]


class EncoderKernel:
    """Encodes one window per call; any number of threads may call it, each has its own scratch memory."""

    def __init__(self, functions: ctypes.CDLL, arrays: Arrays, heads: int) -> None:
        sound, d = arrays["encoder.conv1.int8"].shape
        positions = len(arrays["encoder.embed_positions.weight"])
        layers = sum(name.endswith(".fc1.int8") for name in arrays)
        self.n_mels, self.frames = sound // 3, 2 * positions
        self._hidden = (1, positions, d)
        sizes = (self.n_mels, positions, d, heads, arrays["encoder.layers.0.fc1.int8"].shape[1], layers)
        self._shape = (ctypes.c_long * len(sizes))(*sizes)
        self._weights = Weights(_in_order(arrays, layers))
        self._run, self._scratch = functions.encoder_run, functions.encoder_scratch(self._shape)
        self._local = local()

    def __call__(self, log_mel: Float32) -> Float32:
        """Hidden states [1, positions, d_model] of `log_mel` [1, n_mels, frames]."""
        if not hasattr(self._local, "scratch"):
            self._local.scratch = scratch((self._scratch,))
        given, hidden = np.ascontiguousarray(log_mel, np.float32), np.empty(self._hidden, np.float32)
        self._run(self._shape, self._weights.places, place(given), place(hidden), place(self._local.scratch))
        return hidden
