"""The library of `kernels.c`, and weights as its functions want them.

It computes what graphs of an int8 bundle compute, from the same weights, which it finds in their files by
name. Everywhere else (another processor than one with AVX-512 VNNI, no compiler at installation, a bundle of
an earlier version, a model of unusual sizes) ONNX Runtime runs the graphs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx.safety import check_graph
from asr_batch.models.onnx.sessions import has_gpu
from asr_batch.models.onnx.tensors import Weight, read_tensor
from asr_batch.models.onnx.wire import Message
from asr_batch.models.whisper.arrays import zeros_in_one

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Float32 = NDArray[np.float32]
LANES, PANEL = 16, 64
"""Columns of a vector, and of the panels that the products go through."""

_VERSION = 1  # of the interface of kernels.c
_CPU, _HERE = Path("/proc/cpuinfo"), Path(__file__).parent


def library(provider: str) -> ctypes.CDLL | None:
    """The compiled functions, where `provider` leaves the choice to us and there is no GPU for it."""
    return _library() if provider == "auto" and not has_gpu() else None


@cache
def _library() -> ctypes.CDLL | None:
    """None where nobody could compile it (or not since it was changed), or this machine cannot run it."""
    found = next((one for one in map(_loaded, sorted(_HERE.glob("_kernels*.so"))) if one), None)
    if found is None:
        return None
    found.encoder_scratch.restype = found.vocabulary_scratch.restype = ctypes.c_long
    found.encoder_run.restype = found.vocabulary_run.restype = None
    return found


def _loaded(path: Path) -> ctypes.CDLL | None:
    """The library at `path`: the one of whoever built the wheel, perhaps for another kind of machine."""
    try:
        found = ctypes.CDLL(str(path))
        return found if found.kernels_version() == _VERSION else None
    except (OSError, AttributeError):
        return None


def absent() -> Literal["processor", "library"] | None:
    """What it is for want of which the functions are not used on this machine; None when they are."""
    if _library() is not None:
        return None
    flags = _CPU.read_text(errors="replace") if _CPU.is_file() else ""
    return "library" if "avx512_vnni" in flags else "processor"


def named_weights(path: Path, prefix: str) -> dict[str, Array]:
    """The constants of the graph at `path` whose names begin with `prefix`; large ones are mapped, not read.

    Raises ModelError when the graph is not what it claims to be.
    """
    check_graph(path)
    data = path.read_bytes()
    graphs = [item.message() for item in Message(data, 0, len(data)).fields() if item.number == 7]
    tensors = [item.message() for graph in graphs for item in graph.fields() if item.number == 5]
    found = {}
    for message in tensors:
        tensor = read_tensor(message)
        if not tensor.name.startswith(prefix):
            continue
        found[tensor.name] = _data(message, tensor, path.parent).reshape(tensor.shape)
    return found


def _data(message: Message, tensor: Weight, folder: Path) -> Array:
    kind = np.dtype(tensor.type)
    if tensor.location is None:
        raw = next(item.message().raw() for item in message.fields() if item.number == 9)
        return np.frombuffer(raw, kind)
    return np.memmap(folder / tensor.location, kind, "r", tensor.offset, (tensor.elements,))


def linear(weight: NDArray[np.int8], scale: Float32, bias: Float32 | None) -> Iterator[Array]:
    """`Linear` of kernels.c for `weight` [k, n] with `scale` [n] and `bias` [n]."""
    yield _panels(weight)
    yield scale
    yield scale * weight.sum(axis=0, dtype=np.int32).astype(np.float32)
    yield np.zeros_like(scale) if bias is None else bias


def _panels(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    k, n = weight.shape
    made = np.empty(k * n, np.int8)
    for start in range(0, n, PANEL):
        part = weight[:, start : start + PANEL]
        turned = part.reshape(k // 4, 4, -1).transpose(0, 2, 1)
        made[start * k : (start + part.shape[1]) * k] = turned.reshape(-1)
    return made


class Weights:
    """Arrays in memory, each on a cache line, and their places for the library."""

    def __init__(self, arrays: Iterable[Array]) -> None:
        self._kept = [_aligned(array) for array in arrays]
        self.places = (ctypes.c_void_p * len(self._kept))(*(array.ctypes.data for array in self._kept))


def _aligned(array: Array) -> Array:
    place = scratch(array.shape, array.dtype)
    place[...] = array
    return place


def scratch(shape: tuple[int, ...], kind: Any = np.uint8) -> Array:
    """An array of zeros that begins on a cache line."""
    return zeros_in_one({"": (kind, shape)})[""]


def place(array: Array) -> ctypes.c_void_p:
    """Where the C-contiguous `array` lies."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
