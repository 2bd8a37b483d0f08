"""The decoder and the keys and values of its cross-attention, as c/decoder.h and c/cross.h have them."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arithmetic import (
    LANES,
    LOG2_E,
    Double,
    Float32,
    exp2_of,
    fma,
    folded,
    gelu,
    in_order,
    quantised,
)
from asr_batch.models.kernels.library import Array, Arrays
from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.kernels.decoder import Caches, DecoderSizes, KernelCross, embedding_scale
from asr_batch.models.whisper.kernels.exact.attention import ABSENT, Heads, attend, pack, up
from asr_batch.models.whisper.kernels.exact.encoder import Norms
from asr_batch.models.whisper.kernels.exact.products import linears

_LINE = 64  # bytes


@dataclass(frozen=True, slots=True)
class _Window:
    """Cross-attention inputs in the memory of a window: the scores' bias, and each layer's heads."""

    bias: Float32
    layers: tuple[Heads, ...]
    size: int


def _window(memory: Array, layers: int, heads: int, stored: int, width: int) -> _Window:
    at = 0

    def take(kind: type, *shape: int) -> Array:
        nonlocal at
        size = math.prod(shape) * np.dtype(kind).itemsize
        found = memory[at : at + size].view(kind).reshape(shape) if len(memory) else memory
        at += -(-size // _LINE) * _LINE
        return found

    def take_heads() -> Heads:
        keys, values = (take(np.int8, heads, stored, width) for _ in range(2))
        return Heads(keys, values, take(np.float32, heads, stored), take(np.float32, heads, width))

    bias = take(np.float32, stored)
    return _Window(bias, tuple(take_heads() for _ in range(layers)), at)


class ExactDecoder(DecoderSizes):
    """The counterpart of `DecoderKernel`; any number of threads may use it."""

    def __init__(self, arrays: Arrays, config: WhisperConfig) -> None:
        super().__init__(arrays, config)
        self._tokens = arrays["decoder.embed_tokens.int8"]
        self._places = arrays["decoder.embed_positions.weight"]
        self._scale = embedding_scale(arrays, config)
        own = {name: array for name, array in arrays.items() if "embed_tokens" not in name}
        self._linear, self._norm = linears(_in_powers_of_two(own, config)), Norms(own)

    @np.errstate(all="ignore")  # the C code has no warnings either
    def project(self, hidden: Float32, bias: Float32, positions: int) -> KernelCross:
        """Keys and values of `hidden` [stored, d_model], whose scores get `bias` [stored]."""
        stored = len(hidden)
        memory = np.empty(self._of(np.empty(0, np.uint8), stored).size, np.uint8)
        window = self._of(memory, stored)
        np.multiply(bias, LOG2_E, out=window.bias)
        rows = quantised(np.ascontiguousarray(hidden))
        for i, heads in enumerate(window.layers):
            both = self._linear[f"decoder.layers.{i}.encoder_attn.kv_proj"](rows)
            keys, values = (part.reshape(stored, self.heads, -1) for part in np.split(both, 2, axis=1))
            pack(keys, values, heads)
        return KernelCross(memory, stored, positions)

    def _of(self, memory: Array, stored: int) -> _Window:
        return _window(memory, self.layers, self.heads, stored, self.width)

    def scratch(self, caches: Caches) -> Array:
        """Nothing: numpy has its own."""
        return np.empty(0, np.uint8)

    @np.errstate(all="ignore")
    def run(
        self,
        tokens: Array,
        caches: Caches,
        states: Float32,
        attended: Float32,
        work: Array,
        attention: Float32 | None = None,
    ) -> None:
        """Feed `tokens` [n] of :data:`TOKEN` and append them to `caches`; see `DecoderKernel.run`."""
        heard = _Heard(self.followed, attended.reshape(len(tokens), -1), attention)
        attended[:] = 0
        embedded = self._tokens[tokens["id"]].astype(np.float32)
        x = fma(embedded, self._scale[tokens["id"], None], self._places[tokens["position"]])
        windows = list(self._windows(tokens))
        for i in range(self.layers):
            x = self._layer(x, i, tokens, windows, caches, heard)
        states[: len(tokens)] = self._norm("decoder.layer_norm", x)

    def _windows(self, tokens: Array) -> Iterator[tuple[slice, _Window]]:
        """The windows of neighbouring tokens, which attend together."""
        start, pairs = 0, zip(tokens["cross"].tolist(), tokens["stored"].tolist(), strict=True)
        for (place, stored), some in groupby(pairs):
            end = start + len(list(some))
            size = self._of(np.empty(0, np.uint8), stored).size
            yield slice(start, end), self._of(_memory(place, size), stored)
            start = end

    def _layer(
        self,
        x: Float32,
        layer: int,
        tokens: Array,
        windows: list[tuple[slice, _Window]],
        caches: Caches,
        heard: _Heard,
    ) -> Float32:
        name = f"decoder.layers.{layer}"
        y = self._linear[f"{name}.self_attn.qkv_proj"](
            quantised(self._norm(f"{name}.self_attn_layer_norm", x))
        )
        y = _self_attention(y.reshape(len(y), 3, self.heads, -1), tokens, caches, layer)
        x = x + self._linear[f"{name}.self_attn.out_proj"](quantised(y))
        rows = quantised(self._norm(f"{name}.encoder_attn_layer_norm", x))
        queries = self._linear[f"{name}.encoder_attn.q_proj"](rows).reshape(len(x), self.heads, -1)
        y = np.empty(queries.shape, np.float32)
        for some, window in windows:
            y[some], weights, steps = attend(queries[some], window.layers[layer], window.bias)
            heard.add(layer, some, weights, steps)
        x = x + self._linear[f"{name}.encoder_attn.out_proj"](quantised(y.reshape(len(x), -1)))
        wide = self._linear[f"{name}.fc1"](quantised(self._norm(f"{name}.final_layer_norm", x)))
        return x + self._linear[f"{name}.fc2"](quantised(gelu(wide)))


@dataclass(frozen=True, slots=True)
class _Heard:
    """Attention of the heads `followed` [n, 2]; for the others see `DecoderKernel.run`."""

    followed: NDArray[np.int64]
    attended: Float32
    attention: Float32 | None

    def add(self, layer: int, tokens: slice, weights: Float32, steps: Float32) -> None:
        """Report the weights [heads, tokens, stored] of a layer as bytes, and their steps."""
        share = np.float32(1) / np.float32(max(1, len(self.followed)))
        stored = weights.shape[2]
        for f, (at, head) in enumerate(self.followed.tolist()):
            if at != layer:
                continue
            sums = np.add.reduceat(weights[head], np.arange(0, stored, GROUP), axis=1)
            self.attended[tokens, : sums.shape[1]] += (share * steps[head])[:, None] * sums
            if self.attention is not None:
                self.attention[tokens, f, :stored] = steps[head, :, None] * weights[head]


def _memory(place: int, size: int) -> Array:
    """The `size` bytes at the address `place`, which the caller keeps alive."""
    return np.ctypeslib.as_array(ctypes.cast(place, ctypes.POINTER(ctypes.c_uint8)), (size,))


def _in_powers_of_two(arrays: Arrays, config: WhisperConfig) -> dict[str, Array]:
    """The constants, with queries of self-attention scaled so that scores are exponents of two."""
    made = dict(arrays)
    factor = np.float32(config.head_dim**-0.5 * math.log2(math.e))
    for i in range(config.decoder_layers):
        for kind in ("scale", "bias"):
            name = f"decoder.layers.{i}.self_attn.qkv_proj.{kind}"
            made[name] = arrays[name].copy()
            made[name][: len(made[name]) // 3] *= factor
    return made


def _self_attention(projected: Float32, tokens: Array, caches: Caches, layer: int) -> Float32:
    """Append keys and values of `projected` [n, 3, heads, width] to the caches of a layer, then attend to
    all positions up to each token; returns [n, heads * width].
    """
    positions = tokens["position"]
    longest = int(positions.max()) + 1
    keys, values = (
        _with(caches, 2 * layer + kind, tokens, projected[:, 1 + kind])[:, :, :longest] for kind in (0, 1)
    )
    scores = _dots(projected[:, 0], keys)
    later = np.arange(up(longest)) > positions[:, None]
    scores.transpose(1, 0, 2)[:, later] = ABSENT
    powers = exp2_of(scores - scores.max(axis=2, keepdims=True))
    lanes = powers.reshape(*powers.shape[:2], -1, LANES)
    total = np.zeros(lanes[:, :, 0].shape, np.float32)
    for vector in range(lanes.shape[2]):
        total += lanes[:, :, vector]
    powers.transpose(1, 0, 2)[:, later] = 0
    terms = np.multiply(powers[:, :, :longest, None], values, dtype=np.float64)
    sums = in_order(terms.transpose(2, 0, 1, 3))
    sums *= (np.float32(1) / folded(total))[..., None]
    return sums.reshape(len(sums), -1)


def _with(caches: Caches, which: int, tokens: Array, new: Float32) -> Float32:
    """Add keys or values `new` [n, heads, width] to the caches; returns all of each token's slot [n, heads,
    capacity, width].
    """
    slots, pieces, places = (
        tokens["slot"],
        tokens["position"] // caches.piece,
        tokens["position"] % caches.piece,
    )
    for i, piece in enumerate(caches.pieces):
        here = pieces == i
        piece[which][slots[here], :, places[here]] = new[here]
    used = caches.pieces[: int(pieces.max()) + 1]
    return np.concatenate([piece[which][slots] for piece in used], axis=2)


def _dots(queries: Float32, keys: Float32) -> Float32:
    """Scores [n, heads, positions in whole vectors] of `queries` [n, heads, width], `keys` [n, heads,
    positions, width].
    """
    exact: Double = np.multiply(queries[:, :, None], keys, dtype=np.float64)
    lanes = exact.reshape(*exact.shape[:3], -1, LANES)
    found = np.zeros((*keys.shape[:2], up(keys.shape[2])), np.float32)
    found[:, :, : keys.shape[2]] = folded(in_order(np.moveaxis(lanes, 3, 0)))
    return found
