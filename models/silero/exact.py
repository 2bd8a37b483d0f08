"""The network in numpy, as models/kernels/c/silero.h has it, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arithmetic import LANES, LOG2_E, exp2_of, fma, folded
from asr_batch.models.silero.weights import (
    CHUNK,
    HOP,
    LAYERS,
    WIDTH,
    Float32,
    halves,
    twiddles,
    weights,
    window,
)

_EDGE, _FRAMES, _BINS = 64, 4, 129
_TOP = (1 << 14) - 1  # largest integer of an activation
_ROWS, _COLUMNS = 5, 64  # of a product, so small that OpenBLAS starts no threads
_ONE = np.float32(1)

Double = NDArray[np.float64]


class _Words:
    """A layer: products of integers, exact in float64, and the kernels' roundings after them."""

    def __init__(self, arrays: Any, name: str) -> None:
        self.weight = arrays[f"{name}.int16"].astype(np.float64)
        self.scale = arrays[f"{name}.scale"].astype(np.float64)
        self._bias = arrays.get(f"{name}.bias")

    def __call__(self, rows: Double, steps: Float32) -> Float32:
        """Values [..., columns] of `rows` [..., k], whose integers have a value of `steps` [...] each."""
        flat = rows.reshape(-1, rows.shape[-1])
        parts = np.pad(flat, ((0, -len(flat) % _ROWS), (0, 0))).reshape(-1, _ROWS, flat.shape[1])
        sums = (parts @ self.weight).reshape(-1, len(self.scale))[: len(flat)].astype(np.float32)
        sums *= steps.reshape(-1, 1)
        return fma(sums, self.scale, self._bias).reshape(*rows.shape[:-1], -1)


class ExactSilero:
    """Probabilities of chunks."""

    def __init__(self) -> None:
        arrays = weights()
        *self._convolutions, self._input, back = (_Words(arrays, name) for name in LAYERS)
        self._back = np.ascontiguousarray(back.weight.reshape(WIDTH, -1, _COLUMNS).transpose(1, 0, 2))
        self._back_scale = back.scale
        self._last, self._bias = arrays["output.weight"], arrays["output.bias"]

    @np.errstate(all="ignore")  # the C code has no warnings either
    def __call__(self, chunks: Float32, state: Float32) -> Float32:
        """Probabilities [n] of `chunks` [n, 512]; updates `state` [2, 128]."""
        hidden = np.empty((len(chunks), WIDTH), np.float32)
        for at, gates in enumerate(self._gates(chunks)):
            self._next(gates, state)
            hidden[at] = state[0]
        return self._chances(hidden)

    def _gates(self, chunks: Float32) -> Float32:
        """The gates' sums [n, 512] without the hidden state."""
        first, second, third, fourth = self._convolutions
        sound, steps = _quantised(np.pad(_magnitudes(chunks), ((0, 0), (1, 1), (0, 1))))
        rows = np.concatenate([sound[:, :4], sound[:, 1:5], sound[:, 2:]], axis=-1)
        x, steps = _handed_on(first(rows, np.repeat(steps[:, None], _FRAMES, 1)))
        padded = np.pad(x, ((0, 0), (WIDTH, 0)))
        rows = np.stack([padded[:, : 3 * WIDTH], padded[:, 2 * WIDTH :]], axis=1)
        x, steps = _handed_on(second(rows, np.repeat(steps[:, None], 2, 1)))
        for layer in (third, fourth):
            x, steps = _handed_on(layer(x, steps))
        return self._input(x, steps)

    def _next(self, gates: Float32, state: Float32) -> None:
        levels = np.rint(state[0] * np.float32(_TOP)).astype(np.float64)
        sums = (levels[None, None] @ self._back).reshape(-1).astype(np.float32)
        enter, forget, new, leave = np.split(fma(sums, self._back_scale, gates), 4)
        cell = _sigmoid(forget) * state[1]
        cell += _gated(enter, new)
        state[0], state[1] = _gated(leave, cell), cell

    def _chances(self, hidden: Float32) -> Float32:
        sums = np.zeros((len(hidden), LANES), np.float32)
        for at in range(0, WIDTH, LANES):
            part = slice(at, at + LANES)
            sums = fma(np.maximum(hidden[:, part], np.float32(0)), self._last[part], sums)
        return _sigmoid(folded(sums) + self._bias)


def _exp(x: Float32, by: np.float32) -> Float32:
    return exp2_of(np.minimum(x * by, np.float32(60)))


def _sigmoid(x: Float32) -> Float32:
    found: Float32 = np.divide(_ONE, 1 + _exp(x, -LOG2_E))
    return found


def _gated(x: Float32, y: Float32) -> Float32:
    """sigmoid(x) * tanh(y)."""
    a, b = _exp(x, -LOG2_E), _exp(y, np.float32(-2) * LOG2_E)
    return (1 - b) / ((1 + a) * (1 + b))


def _quantised(x: Float32) -> tuple[Double, Float32]:
    """`x` [n, ...] as integers, and the value of one [n]."""
    top = x.reshape(len(x), -1).max(axis=1)
    steps = np.where(top > 0, top / np.float32(_TOP), _ONE)
    levels = np.rint(x * (_ONE / steps).reshape(-1, *[1] * (x.ndim - 1)))
    return levels.astype(np.float64), steps


def _handed_on(x: Float32) -> tuple[Double, Float32]:
    """What a layer gave, [n, ...], without its negative numbers, as integers [n, all] and their steps [n]."""
    return _quantised(np.maximum(x, np.float32(0)).reshape(len(x), -1))


def _magnitudes(chunks: Float32) -> Float32:
    """Of the four frames of each chunk, [n, 4, 129]."""
    signal = np.concatenate([chunks[:, _EDGE:0:-1], chunks, chunks[:, CHUNK - 2 : CHUNK - 2 - _EDGE : -1]], 1)
    frames = np.stack([signal[:, at : at + 2 * HOP] for at in range(0, CHUNK, HOP)], axis=1)
    weighted = (frames * window()).reshape(-1, HOP, 2).transpose(2, 1, 0)
    found = _spectrum(np.ascontiguousarray(weighted))
    return np.ascontiguousarray(found.T).reshape(len(chunks), _FRAMES, _BINS)


def _multiplied(x: Float32, by: Float32) -> Float32:
    """Complex numbers `x` [2, ...] times `by` [2, ...]."""
    return np.stack([x[0] * by[0] - x[1] * by[1], x[0] * by[1] + x[1] * by[0]])


def _fours(x: Float32, twiddles: Float32) -> Float32:
    """One pass of the transform of `x` [2, 128, n] (Stockham)."""
    parts = len(twiddles)
    a, b, c, d = x.reshape(2, 4, parts, -1).transpose(1, 0, 2, 3)
    even, odd, both, rest = a + c, a - c, b + d, b - d
    one = np.stack([odd[0] + rest[1], odd[1] - rest[0]])
    three = np.stack([odd[0] - rest[1], odd[1] + rest[0]])
    by = twiddles.transpose(1, 2, 0)[..., None]
    turned = [_multiplied(y, by[i]) for i, y in enumerate((one, even - both, three))]
    made = np.stack([even + both, *turned], axis=2)  # [2, parts, 4, stride * n]
    return made.reshape(2, HOP, -1)


def _spectrum(x: Float32) -> Float32:
    """Magnitudes [129, n] of `x` [2, 128, n], pairs of samples as complex numbers."""
    for some in twiddles():
        x = _fours(x, some)
    low, high = x[:, : HOP // 2], x[:, HOP // 2 :]
    x = np.concatenate([low + high, low - high], axis=1)
    here = x[:, : HOP // 2 + 1]
    there = x[:, (HOP - np.arange(HOP // 2 + 1)) % HOP]
    there[1] = np.float32(0) - there[1]
    both, turned = here + there, _multiplied(here - there, halves().T[:, :, None])
    made = np.empty((_BINS, x.shape[2]), np.float32)
    made[HOP // 2 :] = _size(both[0] - turned[1], both[1] + turned[0])[::-1]
    made[: HOP // 2 + 1] = _size(both[0] + turned[1], both[1] - turned[0])
    return made


def _size(real: Float32, imaginary: Float32) -> Float32:
    found: Float32 = np.sqrt(real * real + imaginary * imaginary)
    return found
