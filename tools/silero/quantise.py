"""Silero's weights as 16-bit integers with a scale per column, in the order in which the kernel reads them.

Activations are integers up to TOP, relative to the largest of their chunk, and none but the hidden state is
negative. A column's scale is the smallest with which no sum of products leaves 32 bits. So probabilities are
as far from those in float32 as the ones of Silero's own library, which rounds activations to float16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = (1 << 14) - 1
_LARGEST_SUM, _LARGEST_WEIGHT = (1 << 31) - 1, (1 << 15) - 1
_LSTM, _CONVOLUTION, _LAST = (
    "_model.decoder.rnn.",
    "_model.encoder.{}.reparam_conv.",
    "_model.decoder.decoder.2.",
)
_TAPS = {0: slice(0, 3), 1: slice(0, 3), 2: slice(1, 3), 3: slice(1, 2)}  # the others only meet zeros

Tensors = Mapping[str, NDArray[Any]]


def quantised(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """`NAME.int16` [k, n], `NAME.scale` and `NAME.bias` [n] of each layer, from the ggml file's tensors."""
    return dict(_quantised(tensors))


def _quantised(tensors: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
    for index, taps in _TAPS.items():
        name, taken = f"convolution{index}", _CONVOLUTION.format(index)
        weight = tensors[taken + "weight"].transpose(2, 1, 0)[taps]
        weight = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2), (0, 0)))  # 129 magnitudes: a pair each
        yield from _words(name, weight.reshape(-1, weight.shape[2]))
        yield f"{name}.bias", tensors[taken + "bias"]
    yield from _words("input", tensors[_LSTM + "weight_ih"].T)
    yield "input.bias", tensors[_LSTM + "bias_ih"] + tensors[_LSTM + "bias_hh"]
    yield from _words("hidden", tensors[_LSTM + "weight_hh"].T, hidden=True)
    yield "output.weight", tensors[_LAST + "weight"].reshape(-1)
    yield "output.bias", tensors[_LAST + "bias"].reshape(1)


def _words(name: str, weight: NDArray[Any], hidden: bool = False) -> Iterator[tuple[str, NDArray[Any]]]:
    """`weight` [k, n] as words and scales; a hidden state has both signs and a step of 1 / TOP."""
    exact = weight.astype(np.float64)
    above, below = np.maximum(exact, 0).sum(axis=0), np.maximum(-exact, 0).sum(axis=0)
    most = above + below if hidden else np.maximum(above, below)
    # half a unit more for each weight, because rounding may add as much
    scale = np.maximum(
        np.abs(exact).max(axis=0) / _LARGEST_WEIGHT, most / (_LARGEST_SUM / TOP - len(exact) / 2)
    )
    yield f"{name}.int16", np.rint(exact / scale).astype(np.int16)
    yield f"{name}.scale", (scale / TOP if hidden else scale).astype(np.float32)
