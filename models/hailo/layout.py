"""Finds how a window is laid out in the buffers of a HEF, from the stream's shape and order.

A stream's shape is [H, W, C] without batch ([H, W] for order NHW, [C] for NC); its order says which axis is
contiguous in memory (NHWC: C; NHCW: W within each channel of a row; NCHW: W).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Float32

MEMORY_AXES = {"NHWC": (0, 1, 2), "AUTO": (0, 1, 2), "NHW": (0, 1, 2), "NHCW": (0, 2, 1), "NCHW": (2, 0, 1)}
MEL_BINS = (80, 128)


@dataclass(frozen=True, slots=True)
class Layout:
    """A matrix [rows, columns] (mel bins × frames, or positions × width) inside a stream's buffer.

    `shape` are the buffer's axes in memory order; `swapped`: the matrix is stored column by column.
    """

    name: str
    shape: tuple[int, ...]
    rows: int
    columns: int
    swapped: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the float32 buffer, which is all that HailoRT checks."""
        return int(np.prod(self.shape)) * 4

    def buffer(self) -> Float32:
        """A new buffer: C-contiguous, writeable, float32, as HailoRT requires."""
        return np.zeros(self.shape, np.float32)

    def matrix(self, buffer: Float32) -> Float32:
        """The buffer seen as [rows, columns], without a copy."""
        if self.swapped:
            return buffer.reshape(self.columns, self.rows).T
        return buffer.reshape(self.rows, self.columns)


def layout(name: str, shape: list[int], order: str, rows: int, columns: int) -> Layout:
    """Find a [rows, columns] matrix in a stream.

    Raises ModelError when the stream does not hold exactly these two axes.
    """
    memory = _memory(shape, order)
    kept = [size for size in memory if size != 1]
    if sorted(kept) != sorted(size for size in (rows, columns) if size != 1):
        raise ModelError(
            f"HEF stream {name}: shape {shape} ({order}) does not hold {rows} × {columns} values"
        )
    swapped = kept != [size for size in (rows, columns) if size != 1]
    return Layout(name, memory, rows, columns, swapped)


def _memory(shape: list[int], order: str) -> tuple[int, ...]:
    if order == "NHW" and len(shape) == 2:
        shape = [*shape, 1]
    full = [1] * (3 - len(shape)) + [int(size) for size in shape]
    return tuple(full[axis] for axis in MEMORY_AXES.get(order, (0, 1, 2)))


def window_layout(name: str, shape: list[int], order: str) -> Layout:
    """The layout of log-mel [n_mels, frames] in an encoder's input.

    Raises ModelError when no axis can be mel bins.
    """
    sizes = [int(size) for size in shape if size != 1]
    bins = [size for size in sizes if size in MEL_BINS]
    if len(sizes) != 2 or len(bins) != 1:
        raise ModelError(
            f"HEF input {name}: shape {shape} ({order}) is not a log-mel window; expected 80 or 128 mel bins "
            "and one axis of frames, such as [1, 1000, 80] for 10 s"
        )
    frames = sizes[1 - sizes.index(bins[0])]
    return layout(name, shape, order, bins[0], frames)


def hidden_layout(name: str, shape: list[int], order: str, frames: int) -> Layout:
    """The layout of hidden states [frames / 2, width] in an encoder's output.

    Raises ModelError when no axis has half the input's frames.
    """
    sizes = [int(size) for size in shape if size != 1]
    if len(sizes) != 2 or frames // 2 not in sizes:
        raise ModelError(
            f"HEF output {name}: shape {shape} ({order}) is not a Whisper encoder's hidden states; expected "
            f"{frames // 2} positions (half of {frames} frames) and one axis of the model's width"
        )
    width = sizes[1 - sizes.index(frames // 2)]
    return layout(name, shape, order, frames // 2, width)
