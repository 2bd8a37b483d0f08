"""Attention over int8 keys and values, as c/attention.h has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arithmetic import (
    LANES,
    LOG2_E,
    Float32,
    exp2_of,
    fma,
    in_two,
)
from asr_batch.models.whisper.kernels.exact.products import product

ABSENT = np.float32(-1e30)
"""Bias of positions that do not exist."""

_MOST = 512
"""Products of 255 and 127 whose sum every float32 product of matrices gives exactly."""
_BINS = 1 << 16
_RANGE = 9.0  # 255 / 2^9 rounds to zero
_LOG2_255 = np.float32(7.99435344)
_DOUBTFUL = np.float32(256)


def up(n: int) -> int:
    """`n` rounded up to whole vectors."""
    return -(-n // LANES) * LANES


@dataclass(frozen=True, slots=True)
class Heads:
    """Keys and values [heads, positions, width] of one window, whole numbers from -127 to 127, and the
    scales of positions [heads, positions] and channels [heads, width].
    """

    keys: NDArray[Any]
    values: NDArray[Any]
    key_scale: Float32
    value_scale: Float32


def empty_heads(heads: int, positions: int, width: int) -> Heads:
    """Memory for the heads of a window."""
    keys, values = (np.empty((heads, positions, width), np.float32) for _ in range(2))
    return Heads(keys, values, np.empty((heads, positions), np.float32), np.empty((heads, width), np.float32))


def pack(keys: Float32, values: Float32, into: Heads) -> None:
    """Quantise keys and values [positions, heads, width]: keys less their mean, by position; values by
    channel.
    """
    keys = (keys - in_two(keys) / np.float32(len(keys))).transpose(1, 0, 2)
    top = np.abs(keys).max(axis=2)
    np.divide(top, np.float32(127), out=into.key_scale)
    into.keys[...] = np.rint(keys * _inverse(top)[..., None])
    top = np.maximum(np.abs(values).max(axis=0), np.float32(1e-30))
    np.multiply(top, np.float32(1 / 127), out=into.value_scale)
    levels = values * (np.float32(127) / top)
    into.values[...] = np.rint(levels).transpose(1, 0, 2)


def _inverse(top: Float32) -> Float32:
    """127 / top, zero for zero."""
    return np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)


def attend(queries: Float32, heads: Heads, bias: Float32 | None) -> tuple[Float32, Float32, Float32]:
    """Attention of `queries` [n, heads, width]; `bias` [positions] in units of log 2.

    Returns the sums [n, heads, width], and the weights [heads, n, positions] as bytes with the step of each
    row [heads, n].
    """
    turned = queries.transpose(1, 0, 2)
    top = np.abs(turned).max(axis=2)
    levels = np.rint(turned * _inverse(top)[..., None])
    scores = product(levels, heads.keys, turned=True)
    scores *= (top / np.float32(127) * LOG2_E)[..., None]
    if bias is None:
        scores *= heads.key_scale[:, None]
    else:
        scores = fma(scores, heads.key_scale[:, None], bias)
    weights, steps = softmax(scores)
    sums = _sums(weights, heads.values)
    sums *= steps[..., None]
    sums *= heads.value_scale[:, None]
    return sums.transpose(1, 0, 2), weights, steps


def _sums(weights: Float32, values: NDArray[Any]) -> Float32:
    """Integer sums of `values` [heads, positions, width] with `weights` [heads, n, positions], rounded once
    to float32.
    """
    total: NDArray[Any] | None = None
    for at in range(0, values.shape[1], _MOST):
        some = product(weights[..., at : at + _MOST], values[:, at : at + _MOST])
        total = some if total is None else np.add(total, some, dtype=np.float64)
    assert total is not None
    return total.astype(np.float32, copy=False)


def softmax(scores: Float32) -> tuple[Float32, Float32]:
    """Powers of two of `scores` [..., positions] as bytes relative to the largest, which becomes 255, and
    the steps [...] of the rows; overwrites the scores.
    """
    scores -= scores.max(axis=-1, keepdims=True) - _LOG2_255
    at = (_LOG2_255 - scores) * np.float32(_BINS / _RANGE)
    np.minimum(at, np.float32(_BINS), out=at)
    weights = _LEVELS.take(at.astype(np.int32), mode="clip")
    doubtful = np.flatnonzero(weights == _DOUBTFUL)
    weights.reshape(-1)[doubtful] = np.rint(exp2_of(scores.reshape(-1)[doubtful]))
    return weights, np.float32(1) / weights.sum(axis=-1)


def _levels() -> Float32:
    """The byte of 2^-x for x in each bin; :data:`_DOUBTFUL` where the bin, with the error of the kernels'
    polynomial and of a few roundings, has more than one.
    """
    edges = 255 * np.exp2(-np.arange(_BINS + 2) * (_RANGE / _BINS))
    least, most = np.rint(edges[1:] * (1 - 2e-5)), np.rint(edges[:-1] * (1 + 2e-5))
    return np.where(least == most, most, _DOUBTFUL).astype(np.float32)


_LEVELS = _levels()
