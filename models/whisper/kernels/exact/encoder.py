"""The encoder, as c/encoder.h has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arithmetic import Float32, gelu, norm, quantised
from asr_batch.models.whisper.kernels.exact.attention import attend, empty_heads, pack
from asr_batch.models.whisper.kernels.exact.products import Linear, linears

_QUERIES = 48  # attend together


class Norms:
    """The layer norms among the named constants of a graph."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = {name: np.asarray(array) for name, array in arrays.items()}

    def __call__(self, name: str, x: Float32) -> Float32:
        """The rows `x` [n, width], normalised with NAME.weight and NAME.bias."""
        return norm(x, self._arrays[f"{name}.weight"], self._arrays[f"{name}.bias"])


class ExactEncoder:
    """Encodes one window per call; any number of threads may call it."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], heads: int) -> None:
        sound, self._width = arrays["encoder.conv1.int8"].shape
        self.n_mels, self._heads = sound // 3, heads
        self._layers = sum(name.endswith(".fc1.int8") for name in arrays)
        self._linear, self._norm = linears(arrays), Norms(arrays)
        self._places = arrays["encoder.embed_positions.weight"]

    @np.errstate(all="ignore")  # the C code has no warnings either
    def __call__(self, log_mel: Float32) -> Float32:
        """Hidden states [1, positions, d_model] of `log_mel` [1, n_mels, 2 * positions]."""
        x = self._stem(np.asarray(log_mel[0].T, np.float32))
        for i in range(self._layers):
            x = self._layer(x, f"encoder.layers.{i}")
        return self._norm("encoder.layer_norm", x)[None]

    def _stem(self, sound: Float32) -> Float32:
        first = _convolved(sound, 1, self._linear["encoder.conv1"])
        x = _convolved(first, 2, self._linear["encoder.conv2"])
        x += self._places[: len(x)]
        return x

    def _layer(self, x: Float32, name: str) -> Float32:
        rows = quantised(self._norm(f"{name}.self_attn_layer_norm", x))
        queries = self._split(self._linear[f"{name}.self_attn.q_proj"](rows))
        both = self._linear[f"{name}.self_attn.kv_proj"](rows)
        y = self._attended(queries, *map(self._split, np.split(both, 2, axis=1)))
        x = x + self._linear[f"{name}.self_attn.out_proj"](quantised(y))
        wide = self._linear[f"{name}.fc1"](quantised(self._norm(f"{name}.final_layer_norm", x)))
        return x + self._linear[f"{name}.fc2"](quantised(gelu(wide)))

    def _split(self, x: Float32) -> Float32:
        return x.reshape(len(x), self._heads, -1)

    def _attended(self, queries: Float32, keys: Float32, values: Float32) -> Float32:
        heads = empty_heads(self._heads, len(keys), keys.shape[2])
        pack(keys, values, heads)
        parts = range(0, len(queries), _QUERIES)
        sums = [attend(queries[at : at + _QUERIES], heads, None)[0] for at in parts]
        return np.concatenate(sums).reshape(len(queries), -1)


def _convolved(x: Float32, stride: int, with_: Linear) -> Float32:
    """A convolution over three neighbours of `x` [frames, width], and GELU."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    rows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=0)[::stride].transpose(0, 2, 1)
    return gelu(with_(quantised(rows.reshape(len(rows), -1))))
