"""Quantises weights: int8 with a scale per output column, or 4 bits in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
BLOCK = 32
"""Weights per scale in the 4-bit format."""


def int8_columns(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """`weight` [k, n] as int8 with one scale per column: weight ≈ int8 * scale[n]; symmetric, ±127."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8), scale


def int4_blocks(weight: Float32) -> tuple[NDArray[np.uint8], Float32]:
    """`weight` [k, n] in the format of `MatMulNBits`: uint8 [n, blocks, 16], scales [n * blocks].

    Symmetric around 8: weight ≈ (nibble - 8) * scale. The scale has the sign of the largest value, which
    becomes -8; this halves the error of the block's extreme.
    """
    k, n = weight.shape
    blocks = -(-k // BLOCK)
    padded = np.zeros((n, blocks * BLOCK), np.float32)
    padded[:, :k] = weight.T
    groups = padded.reshape(n, blocks, BLOCK)
    at = np.abs(groups).argmax(axis=2)[..., None]
    scale = np.take_along_axis(groups, at, axis=2) / np.float32(-8)
    safe = np.where(scale == 0, np.float32(1), scale)
    nibbles = np.clip(np.rint(groups / safe) + 8, 0, 15).astype(np.uint8)
    return nibbles[..., 0::2] | (nibbles[..., 1::2] << 4), scale.reshape(-1).astype(np.float32)
