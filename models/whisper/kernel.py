"""The encoder as one function in C (`encoder_kernel.c`), where the processor has AVX-512 VNNI.

It computes what `encoder.onnx` of an int8 bundle computes, from the same weights, which it finds in that file
by name. Everywhere else (another processor, no compiler at installation, a bundle of an earlier version, a
model of unusual sizes) ONNX Runtime runs the graph.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.inspect_tensors import read_tensor
from asr_batch.models.inspect_wire import Message
from asr_batch.models.safety import check_graph
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine_buffers import zeros_in_one

Float32 = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]
_VERSION = 1  # of the interface of encoder_kernel.c
_LANES, _PANEL = 16, 64  # columns of a vector, and of the panels that the products go through
_LAYER = (
    "self_attn_layer_norm",
    "self_attn.q_proj",
    "self_attn.kv_proj",
    "self_attn.out_proj",
    "final_layer_norm",
    "fc1",
    "fc2",
)


def open_kernel(folder: Path) -> EncoderKernel | None:
    """The kernel over the weights of a bundle; None where it cannot be had.

    Raises ModelError when the bundle's graph is not what it claims to be.
    """
    library = _library()
    if library is None:
        return None
    check_graph(folder / "encoder.onnx")
    arrays, heads = _named_weights(folder / "encoder.onnx"), WhisperConfig.from_folder(folder).encoder_heads
    return EncoderKernel(library, arrays, heads) if _fits(arrays, heads) else None


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled function; None where nobody could compile it (or not since it was changed), or where this
    processor cannot run it.
    """
    spec = find_spec("asr_batch.models.whisper._encoder_kernel")
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    if library.encoder_version() != _VERSION:
        return None
    library.encoder_scratch.restype = ctypes.c_long
    library.encoder_run.restype = None
    return library


def _named_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The constants of the ONNX file that have names of their own."""
    data = path.read_bytes()
    graphs = [item.message() for item in Message(data, 0, len(data)).fields() if item.number == 7]
    tensors = [item.message() for graph in graphs for item in graph.fields() if item.number == 5]
    found = {}
    for message in tensors:
        tensor = read_tensor(message)
        if not tensor.name.startswith("encoder."):
            continue
        kind = np.dtype(tensor.type)
        if tensor.location is None:
            raw = next(item.message().raw() for item in message.fields() if item.number == 9)
            array = np.frombuffer(raw, kind)
        else:
            file = path.parent / tensor.location
            array = np.memmap(file, kind, "r", tensor.offset, (tensor.elements,))
        found[tensor.name] = array.reshape(tensor.shape)
    return found


def _fits(arrays: Arrays, heads: int) -> bool:
    """Whether the weights are there, of sizes that the kernel takes."""
    try:
        d, sound, inner = (
            arrays[f"encoder.{name}.int8"].shape[axis]
            for name, axis in (("conv1", 1), ("conv1", 0), ("layers.0.fc1", 1))
        )
    except KeyError:
        return False
    whole = not any(size % _LANES for size in (d, sound, inner)) and d % heads == 0
    return whole and d // heads <= _PANEL and d // heads % _LANES == 0


def _panels(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """`weight` [k, n] in the order in which the kernel reads it (see `Linear` in encoder_kernel.c)."""
    k, n = weight.shape
    parts = [weight[:, start : start + _PANEL] for start in range(0, n, _PANEL)]
    turned = [part.reshape(k // 4, 4, -1).transpose(0, 2, 1).reshape(-1) for part in parts]
    return np.concatenate(turned)


def _linear(arrays: Arrays, name: str) -> Iterator[NDArray[Any]]:
    weight, scale = arrays[f"{name}.int8"], arrays[f"{name}.scale"]
    yield _panels(weight)
    yield scale
    yield scale * weight.sum(axis=0, dtype=np.int32).astype(np.float32)
    yield arrays.get(f"{name}.bias", np.zeros_like(scale))


def _in_order(arrays: Arrays, layers: int) -> Iterator[NDArray[Any]]:
    """What `encoder_run` wants as `weights`."""
    yield from _linear(arrays, "encoder.conv1")
    yield from _linear(arrays, "encoder.conv2")
    yield arrays["encoder.embed_positions.weight"]
    names = [f"encoder.layers.{i}.{part}" for i in range(layers) for part in _LAYER]
    for name in (*names, "encoder.layer_norm"):
        if f"{name}.int8" in arrays:
            yield from _linear(arrays, name)
        else:
            yield arrays[f"{name}.weight"]
            yield arrays[f"{name}.bias"]


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins on a cache line."""
    place = zeros_in_one({"": (array.dtype, array.shape)})[""]
    place[...] = array
    return place


class EncoderKernel:
    """Encodes one window per call; any number of threads may call it, each has its own scratch memory."""

    def __init__(self, library: ctypes.CDLL, arrays: Arrays, heads: int) -> None:
        sound, d = arrays["encoder.conv1.int8"].shape
        positions = len(arrays["encoder.embed_positions.weight"])
        layers = sum(name.endswith(".fc1.int8") for name in arrays)
        self.n_mels, self.frames = sound // 3, 2 * positions
        self._hidden = (1, positions, d)
        sizes = (self.n_mels, positions, d, heads, arrays["encoder.layers.0.fc1.int8"].shape[1], layers)
        self._shape = (ctypes.c_long * len(sizes))(*sizes)
        self._kept = [_aligned(array) for array in _in_order(arrays, layers)]
        self._weights = (ctypes.c_void_p * len(self._kept))(*(array.ctypes.data for array in self._kept))
        self._run, self._scratch = library.encoder_run, library.encoder_scratch(self._shape)
        self._local = local()

    def __call__(self, log_mel: Float32) -> Float32:
        """Hidden states [1, positions, d_model] of `log_mel` [1, n_mels, frames]."""
        if not hasattr(self._local, "scratch"):
            self._local.scratch = zeros_in_one({"scratch": (np.uint8, (self._scratch,))})["scratch"]
        given, hidden = np.ascontiguousarray(log_mel, np.float32), np.empty(self._hidden, np.float32)
        places = (array.ctypes.data for array in (given, hidden, self._local.scratch))
        self._run(self._shape, self._weights, *(ctypes.c_void_p(place) for place in places))
        return hidden
