"""Reads safetensors files: a checked JSON header, and tensors as views of the mapped file.

The package of that name is not used because its numpy side has no bfloat16. Format:
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError

_MAX_HEADER = 100 << 20  # bytes; the format's maximum header size
_DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": np.uint16, "I16": np.int16}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of the file: its type as in the header, and its bytes `start` to `end` in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a file by name. Raises ModelError if header and file do not match."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise ModelError(f"{path}: not a safetensors file (header of {length} bytes in {size})")
            content = json.loads(stream.read(length))
        return {
            str(name): _entry(about, 8 + length, size)
            for name, about in content.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: broken safetensors header ({error})") from error


def _entry(about: Mapping[str, Any], begin: int, size: int) -> Entry:
    start, end = (int(place) + begin for place in about["data_offsets"])
    if not begin <= start <= end <= size:
        raise ValueError(f"data at bytes {start} to {end} of {size}")
    return Entry(str(about["dtype"]), tuple(int(one) for one in about["shape"]), start, end)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name, memory-mapped; bfloat16 becomes float32. Raises ModelError."""
    header = read_header(path)
    raw = np.memmap(path, np.uint8, "r")
    return {name: _tensor(path, name, entry, raw) for name, entry in header.items()}


def _tensor(path: Path, name: str, entry: Entry, raw: NDArray[np.uint8]) -> NDArray[Any]:
    try:
        flat = raw[entry.start : entry.end].view(_DTYPES[entry.dtype])
        if entry.dtype == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(entry.shape)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: tensor {name} cannot be read ({error})") from error
