"""Reads OpenAI's Whisper checkpoints (`tiny.pt`) without torch and without executing their content.

A `.pt` file is a zip: `NAME/data.pkl` describes tensors, `NAME/data/0`, `1`, … are their bytes. Unpickling
calls whatever the file names, so this reader knows only the few names that tensors need and raises
:class:`ModelError` for all others.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError

_STORAGES: dict[str, Any] = {
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "DoubleStorage": np.float64,
    "BFloat16Storage": "bfloat16",
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_MAX_PICKLE = 64 << 20  # bytes; that of large-v3 has a quarter of a megabyte
_MAX_DIMS = 8


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: Any


class _TensorUnpickler(pickle.Unpickler):
    """Accepts tensors, ordered dictionaries and storages; rejects all other names."""

    def __init__(self, stream: io.BytesIO, storage: Callable[[str, Any, int], NDArray[Any]]) -> None:
        super().__init__(stream)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise ModelError(
            f"the checkpoint asks to call {module}.{name}; a Whisper checkpoint holds tensors only, "
            "so this file is not loaded"
        )

    def persistent_load(self, pid: Any) -> Any:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"):
            raise ModelError("the checkpoint refers to an object that is not a tensor storage")
        _, kind, key, _, count = pid
        if not isinstance(kind, _Storage) or not isinstance(key, str) or not isinstance(count, int):
            raise ModelError("the checkpoint describes a storage in an unknown way")
        return self._storage(key, kind.dtype, count)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> NDArray[Any]:
    """The tensor as a view of its storage, bounds checked before numpy is asked for strides."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, np.ndarray) or len(size) != len(stride) or len(size) > _MAX_DIMS:
        raise ModelError("the checkpoint describes a tensor in an unknown way")
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ModelError("the checkpoint describes a tensor with sizes that are not whole numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.size:
        raise ModelError("the checkpoint describes a tensor that reaches beyond its storage")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), steps)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _bfloat16(data: bytes) -> NDArray[np.float32]:
    return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)


def read_checkpoint(path: Path) -> tuple[dict[str, int], Mapping[str, NDArray[Any]]]:
    """Sizes (`dims`) and tensors by OpenAI's names. Raises ModelError for any other content."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = _unpickle(archive, path)
    except (zipfile.BadZipFile, OSError, EOFError, KeyError) as error:
        raise ModelError(f"{path}: not a checkpoint in torch's zip format ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("dims"), dict):
        raise ModelError(f"{path}: not a Whisper checkpoint; expected `dims` and `model_state_dict`")
    state = content.get("model_state_dict")
    if not isinstance(state, dict) or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise ModelError(f"{path}: model_state_dict is missing or contains other objects than tensors")
    dims = {str(k): v for k, v in content["dims"].items()}
    if not all(isinstance(v, int) and 0 < v < 1 << 20 for v in dims.values()):
        raise ModelError(f"{path}: dims are {dims}; expected whole numbers")
    return dims, {str(k): v for k, v in state.items()}


def _unpickle(archive: zipfile.ZipFile, path: Path) -> Any:
    names = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ModelError(f"{path}: has {len(names)} data.pkl; expected one")
    if archive.getinfo(names[0]).file_size > _MAX_PICKLE:
        raise ModelError(f"{path}: data.pkl is larger than any Whisper's")
    root = names[0].removesuffix("data.pkl")

    def storage(key: str, dtype: Any, count: int) -> NDArray[Any]:
        item = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        info = archive.getinfo(f"{root}data/{key}")
        if info.file_size != count * item:
            raise ModelError(f"{path}: storage {key} has {info.file_size} bytes; expected {count * item}")
        data = archive.read(info)
        return _bfloat16(data) if dtype == "bfloat16" else np.frombuffer(data, dtype)

    try:
        return _TensorUnpickler(io.BytesIO(archive.read(names[0])), storage).load()
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # an invalid pickle can raise almost anything
        raise ModelError(f"{path}: the checkpoint cannot be read ({error})") from error
