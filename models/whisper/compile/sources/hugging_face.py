"""Reads the weights of a Hugging Face folder: `model.safetensors`, or several files with an index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.safetensors import read_tensors
from asr_batch.models.whisper.config import read_json, read_text_files

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def is_hugging_face(folder: Path) -> bool:
    """Whether `folder` has weights in safetensors files."""
    return (folder / _ONE).is_file() or (folder / _INDEX).is_file()


def read_hugging_face(folder: Path) -> tuple[Mapping[str, NDArray[Any]], dict[str, bytes]]:
    """Tensors by name without the prefix `model.`, and the text files. Raises ModelError."""
    index = folder / _INDEX
    names = sorted(set(read_json(index).get("weight_map", {}).values())) if index.is_file() else [_ONE]
    tensors: dict[str, NDArray[Any]] = {}
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"{index}: {name!r} is not a file name inside the folder")
        tensors |= read_tensors(folder / name)
    return {name.removeprefix("model."): value for name, value in tensors.items()}, read_text_files(folder)
