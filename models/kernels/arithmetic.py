"""Elementary functions, row sums, layer normalisation and quantisation, as c/arithmetic.h has them.

Everything is float32, with the roundings of the kernels: a fused multiply-add is a product in float64, which
is exact, and a sum, rounded to float32. That rounds twice, which differs from once only where the first
result lies exactly between two float32 (less than one of 10^8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Double = NDArray[np.float64]
LANES = 16
LOG2_E = np.float32(1.44269504)
BLOCK = 1 << 14
"""Elements computed at once, so that intermediate results stay in the cache."""


def _coefficients(*numbers: float) -> tuple[np.float64, ...]:
    return tuple(np.float64(np.float32(number)) for number in numbers)


_EXP2 = _coefficients(9.58285309e-3, 5.59064246e-2, 2.40240986e-1, 6.93124193e-1, 1)
_GELU = _coefficients(
    3.30927672e-5, -7.69219272e-4, 8.08071508e-3, -5.34121018e-2, -4.58770975e-1, -1.1512017, -0.999993061
)


def fma(x: Any, y: Any, more: Any) -> Float32:
    """`more` + x * y, rounded once."""
    made = np.multiply(x, y, dtype=np.float64)
    made += more
    rounded: Float32 = made.astype(np.float32)
    return rounded


def _horner(x: Double, coefficients: tuple[np.float64, ...]) -> Float32:
    """The polynomial of float32 `x` [n], each step rounded to float32."""
    exact, rounded = x * coefficients[0], np.empty(x.shape, np.float32)
    exact += coefficients[1]
    rounded[...] = exact
    for coefficient in coefficients[2:]:
        np.multiply(rounded, x, out=exact)
        exact += coefficient
        rounded[...] = exact
    return rounded


def exp2_of(x: Float32) -> Float32:
    """2^x for x up to 127, with the kernels' polynomial; below -120 as at -120."""
    x = np.maximum(x, np.float32(-120))
    whole = np.rint(x)
    y = _horner((x - whole).astype(np.float64), _EXP2)
    y *= ((whole.astype(np.int32) + 127) << 23).view(np.float32)
    return y


def exp_of(x: Float32) -> Float32:
    """e^x."""
    return exp2_of(x * LOG2_E)


def gelu_of(x: Float32) -> Float32:
    """GELU: the kernels' polynomial for the logarithm of what is missing."""
    size = np.abs(x)
    missing = exp2_of(_horner(np.minimum(size, np.float32(6)).astype(np.float64), _GELU))
    return fma(-size, missing, np.maximum(x, np.float32(0)))


def gelu(x: Float32) -> Float32:
    """GELU of every element of the C-contiguous `x`, in place."""
    flat = x.reshape(-1)
    for at in range(0, flat.size, BLOCK):
        flat[at : at + BLOCK] = gelu_of(flat[at : at + BLOCK])
    return x


def folded(lanes: Float32) -> Float32:
    """Sums over the last axis of `LANES` elements: the upper half is added to the lower until one is left."""
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def in_order(terms: Any) -> Float32:
    """Sums of `terms` [n, ...] along the first axis, one after the other, rounded to float32 each time."""
    total = np.zeros(terms.shape[1:], np.float32)
    for term in terms:
        np.add(total, term, out=total, casting="same_kind")
    return total


def in_two(terms: Any) -> Float32:
    """Sums of `terms` [n, ...] along the first axis: of every second one, and of the others, then of both."""
    return in_order(terms[::2]) + in_order(terms[1::2])


def _by_vector(x: Any) -> Any:
    """`x` [n, width] as [width / LANES, n, LANES]."""
    return np.ascontiguousarray(x.reshape(len(x), -1, LANES).transpose(1, 0, 2))


def norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    """Layer normalisation of the rows of `x` [n, width]."""
    width = np.float32(x.shape[1])
    away = x - (folded(in_two(_by_vector(x))) / width)[:, None]
    squares = in_two(_by_vector(np.multiply(away, away, dtype=np.float64)))
    scale = np.float32(1) / np.sqrt(folded(squares) / width + np.float32(1e-5))
    away *= scale[:, None]
    return fma(away, weight, bias)


@dataclass(frozen=True, slots=True)
class Rows:
    """Quantised rows: `bytes` [n, k] uint8; a byte b of row r represents b * step[r] + zero[r]."""

    bytes: NDArray[np.uint8]
    step: Float32
    zero: Float32

    def part(self, which: slice) -> Rows:
        """Some of the rows."""
        return Rows(self.bytes[which], self.step[which], self.zero[which])


def quantised(x: Float32) -> Rows:
    """The rows of `x` [n, k] as bytes; a row's range includes zero."""
    low = np.minimum(x.min(axis=1), np.float32(0))
    step = (np.maximum(x.max(axis=1), np.float32(0)) - low) / np.float32(255)
    step[~(step > 0)] = 1
    middle = np.rint(-low / step)
    made, inverse = np.empty(x.shape, np.uint8), np.float32(1) / step
    some = max(1, BLOCK // x.shape[1])
    for at in range(0, len(x), some):
        part = slice(at, at + some)
        levels = x[part] * inverse[part, None]
        np.rint(levels, out=levels)
        levels += middle[part, None]
        made[part] = np.clip(levels, 0, 255, out=levels)
    return Rows(made, step, -step * middle)
