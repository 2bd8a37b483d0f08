"""Writes a safetensors file (https://github.com/huggingface/safetensors#format)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KINDS = {np.dtype(np.float32): "F32", np.dtype(np.int16): "I16"}


def safetensors(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The file with `tensors`, float32 or int16."""
    about, place = {}, 0
    for name, tensor in tensors.items():
        end = place + tensor.nbytes
        shape = list(tensor.shape)
        about[name] = {"dtype": _KINDS[tensor.dtype], "shape": shape, "data_offsets": [place, end]}
        place = end
    header = json.dumps(about, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % 64)  # so that tensors begin on a cache line
    data = b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in tensors.values())
    return len(header).to_bytes(8, "little") + header + data
