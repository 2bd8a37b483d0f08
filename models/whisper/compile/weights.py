"""Weights and JSON files of a Whisper source: a Hugging Face folder or an OpenAI checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.whisper.compile.checkpoint import read_checkpoint
from asr_batch.models.whisper.config import TEXT_FILES, read_json

Float32 = NDArray[np.float32]
_DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": np.uint16}
_MAX_HEADER = 100 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """What a bundle is made from: `tensors` by Hugging Face name, `files` by name with their content."""

    tensors: Mapping[str, NDArray[Any]]
    files: Mapping[str, bytes]

    def get(self, name: str, *shape: int) -> Float32:
        """The tensor `name` as float32. Raises ModelError when missing or of another shape."""
        found = self.tensors.get(name)
        if found is None:
            raise ModelError(f"tensor {name} is missing; expected shape {list(shape)}")
        if found.shape != shape:
            raise ModelError(f"tensor {name} has shape {list(found.shape)}; expected {list(shape)}")
        return np.ascontiguousarray(found, np.float32)


def read_source(path: Path) -> Source:
    """Read a Hugging Face folder, a `.pt` file, or a folder that holds one. Raises ModelError."""
    if path.is_file() and path.suffix in (".pt", ".pth"):
        return _openai(path)
    if not path.is_dir():
        raise ModelError(f"{path}: no such folder or .pt file")
    if (path / "model.safetensors").is_file() or (path / "model.safetensors.index.json").is_file():
        return Source(_hugging_face(path), _text_files(path))
    checkpoints = sorted(path.glob("*.pt"))
    if len(checkpoints) == 1:
        return _openai(checkpoints[0])
    raise ModelError(
        f"{path}: no weights to compile; expected model.safetensors with config.json and tokenizer.json, "
        "or one OpenAI checkpoint (.pt)"
    )


def _text_files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TEXT_FILES if (folder / name).is_file()}


def _hugging_face(folder: Path) -> dict[str, NDArray[Any]]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return _plain_names(read_safetensors(folder / "model.safetensors"))
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    tensors: dict[str, NDArray[Any]] = {}
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"{index}: {name!r} is not a file name inside the folder")
        tensors |= read_safetensors(folder / name)
    return _plain_names(tensors)


def _plain_names(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix("model."): value for name, value in tensors.items()}


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of a safetensors file, mapped, not loaded; bfloat16 becomes float32.

    Read here and not by the package because its numpy side has no bfloat16. Raises ModelError when header
    and file do not fit each other.
    """
    if not path.is_file():
        raise ModelError(f"{path}: missing")
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise ModelError(f"{path}: not a safetensors file (header of {length} bytes in {size})")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path}: not a safetensors file ({error})") from error
    raw = np.memmap(path, np.uint8, "r", 8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    return {name: _tensor(path, name, info, raw) for name, info in header.items() if name != "__metadata__"}


def _tensor(path: Path, name: str, info: Mapping[str, Any], raw: NDArray[np.uint8]) -> NDArray[Any]:
    try:
        dtype, shape, (start, end) = _DTYPES[info["dtype"]], tuple(info["shape"]), info["data_offsets"]
        if not 0 <= start <= end <= raw.size:
            raise ValueError(f"bytes {start} to {end} of {raw.size}")
        flat = raw[start:end].view(dtype)
        if info["dtype"] == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: tensor {name} cannot be read ({error})") from error


_OPENAI_NAMES = (
    (r"\.blocks\.", ".layers."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.attn\.", ".self_attn."),
    (r"\.query\.", ".q_proj."),
    (r"\.key\.", ".k_proj."),
    (r"\.value\.", ".v_proj."),
    (r"\.out\.", ".out_proj."),
    (r"^encoder\.ln_post\.", "encoder.layer_norm."),
    (r"^decoder\.ln\.", "decoder.layer_norm."),
    (r"\.positional_embedding$", ".embed_positions.weight"),
    (r"^decoder\.token_embedding\.", "decoder.embed_tokens."),
)


_VOCABULARIES = {51864: False, 51865: True, 51866: True}
"""Sizes of OpenAI's vocabularies, and whether they are multilingual: the tokenizer's files do not tell."""


def hugging_face_name(openai: str) -> str:
    """The name in a Hugging Face folder of the tensor that OpenAI's checkpoint calls `openai`."""
    for pattern, replacement in _OPENAI_NAMES:
        openai = re.sub(pattern, replacement, openai)
    return openai


def _openai(path: Path) -> Source:
    dims, state = read_checkpoint(path)
    tensors = {hugging_face_name(name): value for name, value in state.items()}
    files = {k: v for k, v in _text_files(path.parent).items() if k != "preprocessor_config.json"}
    if "tokenizer.json" not in files and "vocab.json" not in files:
        raise ModelError(
            f"{path}: an OpenAI checkpoint has no tokenizer; put tokenizer.json of the same model (from "
            "Hugging Face, openai/whisper-…) beside it"
        )
    files["config.json"] = json.dumps(_config(path, dims), indent=1).encode()
    if dims["n_vocab"] in _VOCABULARIES:
        known = {"is_multilingual": _VOCABULARIES[dims["n_vocab"]]}
        files.setdefault("generation_config.json", json.dumps(known).encode())
    return Source(tensors, files)


def _config(path: Path, dims: Mapping[str, int]) -> dict[str, Any]:
    """config.json for a checkpoint's `dims`; special ids follow from the tokenizer's added tokens."""
    try:
        if dims["n_audio_state"] != dims["n_text_state"]:
            raise ModelError(f"{path}: encoder and decoder have different widths: {dict(dims)}")
        width = dims["n_text_state"]
        return {
            "model_type": "whisper",
            "d_model": width,
            "encoder_layers": dims["n_audio_layer"],
            "encoder_attention_heads": dims["n_audio_head"],
            "decoder_layers": dims["n_text_layer"],
            "decoder_attention_heads": dims["n_text_head"],
            "encoder_ffn_dim": 4 * width,
            "decoder_ffn_dim": 4 * width,
            "num_mel_bins": dims["n_mels"],
            "vocab_size": dims["n_vocab"],
            "max_source_positions": dims["n_audio_ctx"],
            "max_target_positions": dims["n_text_ctx"],
        }
    except KeyError as error:
        raise ModelError(f"{path}: dims lack {error}; found {sorted(dims)}") from error
