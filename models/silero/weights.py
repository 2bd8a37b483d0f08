"""The network's tables and weights (`tools/silero` writes the file), once per process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.safetensors import read_tensors

CHUNK = 512
"""Samples per probability: 32 ms."""

WIDTH = 128
"""Size of the LSTM's hidden state, and of its cell."""

HOP = 128
"""Samples between the beginnings of two frames of 256."""

LAYERS = *(f"convolution{index}" for index in range(4)), "input", "hidden"
"""The layers in the order of the computation."""

Float32 = NDArray[np.float32]


@cache
def weights() -> Mapping[str, NDArray[Any]]:
    """`NAME.int16` [k, n], `NAME.scale` [n], `NAME.bias` [n] of LAYERS; `output.weight`, `output.bias`."""
    return read_tensors(Path(str(files("asr_batch.models.silero"))) / "silero_v6.safetensors")


def _single(numbers: NDArray[np.float64]) -> Float32:
    """As float32, the same on every processor: the last bits of a sine in float64 are not."""
    made: Float32 = (np.rint(numbers * (1 << 30)) / (1 << 30)).astype(np.float32)
    return made


def roots(places: Any, size: int) -> Float32:
    """Cosine and sine, [..., 2], of `places` parts of `size` of a turn, clockwise."""
    angles = -2 * np.pi / size * np.asarray(places, np.float64)
    return _single(np.stack([np.cos(angles), np.sin(angles)], axis=-1))


@cache
def window() -> Float32:
    """Half a periodic Hann window [256]."""
    return _single(0.25 - 0.25 * np.cos(np.pi / HOP * np.arange(2 * HOP)))


@cache
def twiddles() -> tuple[Float32, ...]:
    """Of the three passes of the transform of 128 complex numbers: [parts, 3, 2]."""
    return tuple(
        roots(np.arange(parts)[:, None] * np.arange(1, 4), 4 * parts)
        for parts in (HOP // 4, HOP // 16, HOP // 64)
    )


@cache
def halves() -> Float32:
    """The roots [65, 2] that take the transforms of even and odd samples apart."""
    return roots(np.arange(HOP // 2 + 1), 2 * HOP)
