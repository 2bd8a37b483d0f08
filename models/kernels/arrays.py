"""Allocates arrays that graphs and kernels share: in one block, each on a cache line, or page by page."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


Shape = tuple[Any, tuple[int, ...]]
"""Element type and shape of a buffer."""


_LINE = 64  # bytes: arrays begin on a cache line
_HUGE = 2 << 20  # bytes of a huge page
_FEW = 4  # of them: fewer would be half empty


def zeros_in_one(shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Arrays of zeros in one block, each on a cache line.

    numpy requests huge pages for large blocks, which saves TLB misses in a decoder step that reads all of it.
    """
    sizes = [math.prod(shape) * np.dtype(kind).itemsize for kind, shape in shapes.values()]
    ends = list(accumulate(-(-size // _LINE) * _LINE for size in sizes))
    block = np.zeros((ends[-1] if ends else 0) + _LINE, np.uint8)
    block = block[-block.ctypes.data % _LINE :]
    starts = [0, *ends[:-1]]
    return {
        name: block[start : start + size].view(kind).reshape(shape)
        for (name, (kind, shape)), start, size in zip(shapes.items(), starts, sizes, strict=True)
    }


def page_by_page(shape: tuple[int, ...], kind: Any) -> Array:
    """Zeros that take memory only where they were written, in pages of 4 KB."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, kind).reshape(shape)


class Block:
    """Memory for at most `size` bytes, which takes no more than what is copied to it; if that may fill a few
    huge pages, on these.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE") and size >= _FEW * _HUGE:
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._used = -np.frombuffer(self._memory, np.uint8).ctypes.data % _HUGE

    def copy(self, array: Array) -> Array:
        """A C-contiguous copy of `array` on a cache line. Raises ValueError if the block is full."""
        flat = np.frombuffer(self._memory, array.dtype, array.size, self._used)
        self._used += -(-array.nbytes // _LINE) * _LINE
        made = flat.reshape(array.shape)
        made[...] = array
        return made
