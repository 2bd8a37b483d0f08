"""Reads weights and JSON files of a Whisper model in any supported format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import broken_values
from asr_batch.models.whisper.compile.sources.ctranslate2 import is_ctranslate2, read_ctranslate2
from asr_batch.models.whisper.compile.sources.hugging_face import is_hugging_face, read_hugging_face
from asr_batch.models.whisper.compile.sources.openai import read_openai

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a bundle: `tensors` by Hugging Face name, `files` by name with their content."""

    tensors: Mapping[str, NDArray[Any]]
    files: Mapping[str, bytes]

    def get(self, name: str, *shape: int) -> Float32:
        """The tensor `name` as float32. Raises ModelError if it is missing or has another shape."""
        found = self.tensors.get(name)
        if found is None:
            raise ModelError(f"tensor {name} is missing; expected shape {list(shape)}")
        if found.shape != shape:
            raise ModelError(f"tensor {name} has shape {list(found.shape)}; expected {list(shape)}")
        return np.ascontiguousarray(found, np.float32)


def read_source(path: Path) -> Source:
    """Read a Hugging Face or CTranslate2 folder, a `.pt` file, or a folder with one.

    Raises ModelError.
    """
    if path.is_file() and path.suffix in (".pt", ".pth"):
        return Source(*read_openai(path))
    if not path.is_dir():
        raise ModelError(f"{path}: no such folder or .pt file")
    with broken_values(path):
        if is_hugging_face(path):
            return Source(*read_hugging_face(path))
        if is_ctranslate2(path):
            return Source(*read_ctranslate2(path))
        checkpoints = sorted(path.glob("*.pt"))
        if len(checkpoints) == 1:
            return Source(*read_openai(checkpoints[0]))
    raise ModelError(
        f"{path}: no weights to compile; expected model.safetensors with config.json and tokenizer.json, "
        "CTranslate2's model.bin with config.json and vocabulary, or one OpenAI checkpoint (.pt)"
    )
