"""Reads CTranslate2's Whisper folders, as used by faster-whisper: arrays and files in Hugging Face's form.

Query, key and value are stacked in one matrix; int8 and int16 have one scale, or one per row (value =
integer / scale). Sizes follow from the shapes; suppressed ids, languages and alignment heads are in the
folder's config.json, the special ids in its tokenizer or vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.whisper.compile.sources.merges import tokenizer_of
from asr_batch.models.whisper.compile.sources.model_bin import ModelBin, Variable, read_model_bin
from asr_batch.models.whisper.config import INITIAL_TIMESTAMP, VOCABULARIES, read_json, read_text_files

_HEAD = 64  # head width of every Whisper; old files do not store the number of heads
_GELU = 3
_MAX_VOCABULARY = 8 << 20
_LAYER = re.compile(r"(encoder|decoder)/layer_(0|[1-9]\d{0,2})/(.+)")

_PARTS: Mapping[str, tuple[tuple[str, int, int], ...]] = {
    "self_attention/linear_0": (
        ("self_attn.q_proj", 0, 3),
        ("self_attn.k_proj", 1, 3),
        ("self_attn.v_proj", 2, 3),
    ),
    "self_attention/linear_1": (("self_attn.out_proj", 0, 1),),
    "attention/linear_0": (("encoder_attn.q_proj", 0, 1),),
    "attention/linear_1": (("encoder_attn.k_proj", 0, 2), ("encoder_attn.v_proj", 1, 2)),
    "attention/linear_2": (("encoder_attn.out_proj", 0, 1),),
    "ffn/linear_0": (("fc1", 0, 1),),
    "ffn/linear_1": (("fc2", 0, 1),),
    "self_attention/layer_norm": (("self_attn_layer_norm", 0, 1),),
    "attention/layer_norm": (("encoder_attn_layer_norm", 0, 1),),
    "ffn/layer_norm": (("final_layer_norm", 0, 1),),
}
"""Hugging Face's layer names of a group of variables: names, which part, of how many."""
_OUTSIDE: Mapping[str, str] = {
    "encoder/conv1": "encoder.conv1",
    "encoder/conv2": "encoder.conv2",
    "encoder/layer_norm": "encoder.layer_norm",
    "decoder/layer_norm": "decoder.layer_norm",
    "encoder/position_encodings": "encoder.embed_positions",
    "decoder/position_encodings": "decoder.embed_positions",
    "decoder/embeddings": "decoder.embed_tokens",
    "decoder/projection": "proj_out",
}
_ENDINGS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}


@dataclass(frozen=True, slots=True)
class _Array:
    """Rows of a variable, with their scale."""

    variable: Variable
    scale: NDArray[Any] | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    def floats(self) -> NDArray[Any]:
        numbers = self.variable.numbers()
        if self.scale is None:
            return numbers
        rows = self.scale.astype(np.float32).reshape(-1, *[1] * (numbers.ndim - 1))
        return numbers.astype(np.float32) / rows

    def part(self, which: int, of: int) -> _Array:
        size = self.shape[0] // of
        start, stop = which * size, (which + 1) * size
        scale = self.scale[start:stop] if self.scale is not None and self.scale.size > 1 else self.scale
        return _Array(self.variable.rows(start, stop), scale)


class _Tensors(Mapping[str, NDArray[Any]]):
    """Arrays that are dequantised on access: a large int8 model is never completely in memory."""

    def __init__(self, arrays: Mapping[str, _Array]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name].floats()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def is_ctranslate2(folder: Path) -> bool:
    """Whether `folder` looks like a CTranslate2 model, by its file names."""
    return (folder / "model.bin").is_file() and any(
        (folder / name).is_file() for name in ("vocabulary.txt", "vocabulary.json")
    )


def read_ctranslate2(folder: Path) -> tuple[Mapping[str, NDArray[Any]], dict[str, bytes]]:
    """Tensors by Hugging Face's names, and the text files of a Hugging Face folder. Raises ModelError."""
    path = folder / "model.bin"
    content = read_model_bin(path)
    try:
        _check_architecture(content)
        arrays = _named(content)
        _check_ties(arrays)
        sizes = _sizes(arrays, content)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return _Tensors(arrays), _files(folder, sizes)


def _check_architecture(content: ModelBin) -> None:
    if content.specification != "WhisperSpec":
        raise ModelError(f"a CTranslate2 model of kind {content.specification}; expected WhisperSpec")
    for name, wanted in (("decoder/activation", _GELU), ("decoder/pre_norm", 1), ("decoder/alibi", 0)):
        found = _scalar(content, name)
        if found is not None and found != wanted:
            raise ModelError(f"{name} is {found}; a Whisper has {wanted}")


def _scalar(content: ModelBin, name: str) -> int | None:
    found = content.variables.get(name)
    if found is None:
        return None
    if found.shape != () or not np.isfinite(found.numbers()):
        raise ModelError(f"{name} has the shape {list(found.shape)}; expected one number")
    return int(found.numbers())


def _named(content: ModelBin) -> dict[str, _Array]:
    """Every array by Hugging Face's name. Raises ModelError for an unknown one."""
    whole = dict(content.variables)
    whole |= {alias: whole[target] for alias, target in content.aliases.items()}
    scales = dict(content.aliases)
    arrays: dict[str, _Array] = {}
    for name, variable in whole.items():
        if variable.shape == () or name.endswith("_scale"):
            continue
        array = _Array(variable, _scale(whole, scales.get(name, name), variable))
        group, _, ending = name.rpartition("/")
        if ending not in _ENDINGS:
            raise ModelError(f"{name}: not an array of a Whisper model")
        for target, part, parts in _targets(name, group):
            if array.shape[0] % parts:
                raise ModelError(f"{name} has {array.shape[0]} rows; expected a multiple of {parts}")
            arrays[f"{target}.{_ENDINGS[ending]}"] = array.part(part, parts)
    return arrays


def _scale(whole: Mapping[str, Variable], name: str, variable: Variable) -> NDArray[Any] | None:
    found = whole.get(f"{name}_scale")
    if not variable.quantised:
        return None
    if found is None:
        raise ModelError(f"{name} has integers, but {name}_scale is missing")
    numbers = found.numbers().reshape(-1)
    if numbers.size not in (1, variable.shape[0]) or found.quantised:
        raise ModelError(
            f"{name}_scale has the shape {list(found.shape)}; expected one number or one per row"
        )
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ModelError(f"{name}_scale has an invalid scale")
    return numbers


def _targets(name: str, group: str) -> Iterator[tuple[str, int, int]]:
    layer = _LAYER.fullmatch(group)
    if layer is None:
        if group not in _OUTSIDE:
            raise ModelError(f"{name}: not an array of a Whisper model")
        yield _OUTSIDE[group], 0, 1
        return
    side, number, rest = layer.groups()
    if rest not in _PARTS or (side == "encoder" and rest.startswith("attention")):
        raise ModelError(f"{name}: not an array of a Whisper model")
    for target, part, parts in _PARTS[rest]:
        yield f"{side}.layers.{number}.{target}", part, parts


def _check_ties(arrays: dict[str, _Array]) -> None:
    """Reject models with a bias of the keys, or with a last matrix that differs from the embedding."""
    for name in [name for name in arrays if name.endswith("k_proj.bias")]:
        if arrays.pop(name).floats().any():
            raise ModelError(f"{name} is not zero; a Whisper's keys have no bias")
    last, table = arrays.pop("proj_out.weight", None), arrays.get("decoder.embed_tokens.weight")
    if last is None or table is None or np.may_share_memory(last.variable.bits, table.variable.bits):
        return
    if last.shape != table.shape or not np.array_equal(last.floats(), table.floats()):
        raise ModelError("decoder/projection/weight differs from the embedding; in a Whisper they are one")


def _sizes(arrays: Mapping[str, _Array], content: ModelBin) -> dict[str, Any]:
    """config.json's sizes, from the shapes; the compiler compares every tensor with them."""
    words, width = _shape(arrays, "decoder.embed_tokens.weight", 2)
    return {
        "model_type": "whisper",
        "d_model": width,
        "vocab_size": words,
        "num_mel_bins": _shape(arrays, "encoder.conv1.weight", 3)[1],
        "max_source_positions": _shape(arrays, "encoder.embed_positions.weight", 2)[0],
        "max_target_positions": _shape(arrays, "decoder.embed_positions.weight", 2)[0],
        "scale_embedding": bool(_scalar(content, "decoder/scale_embeddings")),
        **{
            f"{side}_{key}": value
            for side in ("encoder", "decoder")
            for key, value in (
                ("layers", _layers(arrays, side)),
                ("attention_heads", _scalar(content, f"{side}/num_heads") or max(1, width // _HEAD)),
                ("ffn_dim", _shape(arrays, f"{side}.layers.0.fc1.weight", 2)[0]),
            )
        },
    }


def _shape(arrays: Mapping[str, _Array], name: str, rank: int) -> tuple[int, ...]:
    found = arrays.get(name)
    if found is None or len(found.shape) != rank:
        shape = "missing" if found is None else f"of shape {list(found.shape)}"
        raise ModelError(f"tensor {name} is {shape}; expected {rank} dimensions")
    return found.shape


def _layers(arrays: Mapping[str, _Array], side: str) -> int:
    numbers = {int(name.split(".")[2]) for name in arrays if name.startswith(f"{side}.layers.")}
    if numbers != set(range(len(numbers))):
        raise ModelError(f"the layers of the {side} are not numbered 0 to {len(numbers) - 1}")
    return len(numbers)


def _files(folder: Path, sizes: Mapping[str, Any]) -> dict[str, bytes]:
    """The text files of a Hugging Face folder, as far as CTranslate2's files contain the information."""
    files, words = read_text_files(folder), int(sizes["vocab_size"])
    tokenizer = _tokenizer(folder, words)
    files.setdefault("tokenizer.json", json.dumps(tokenizer, ensure_ascii=False).encode())
    given = read_json(folder / "generation_config.json") if "generation_config.json" in files else {}
    known = {"is_multilingual": VOCABULARIES[words]} if words in VOCABULARIES else {}
    generation = INITIAL_TIMESTAMP | known | given | _generation(read_json(folder / "config.json"))
    if generation.get("is_multilingual", True):  # English-only vocabularies also contain language tokens
        ids = set(read_json(folder / "config.json").get("lang_ids") or ())
        named = {one["content"]: one["id"] for one in tokenizer["added_tokens"] if one["id"] in ids}
        generation |= {"lang_to_id": named} if named else {}
    files["config.json"] = json.dumps(sizes, indent=1).encode()
    files["generation_config.json"] = json.dumps(generation, indent=1).encode()
    return files


def _generation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a generation_config.json that CTranslate2's config.json contains."""
    names = {
        "suppress_ids": "suppress_tokens",
        "suppress_ids_begin": "begin_suppress_tokens",
        "alignment_heads": "alignment_heads",
    }
    return {ours: config[key] for key, ours in names.items() if config.get(key)}


def _tokenizer(folder: Path, words: int) -> dict[str, Any]:
    """The folder's tokenizer.json, or one made from its vocabulary."""
    if (folder / "tokenizer.json").is_file():
        return read_json(folder / "tokenizer.json")
    path = folder / "vocabulary.json"
    path = path if path.is_file() else folder / "vocabulary.txt"
    try:
        if path.stat().st_size > _MAX_VOCABULARY:
            raise ModelError(f"larger than {_MAX_VOCABULARY} bytes")
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else text.removesuffix("\n").split("\n")
        if not isinstance(found, list) or len(found) != words or not all(isinstance(t, str) for t in found):
            raise ModelError(f"not a list of {words} tokens, the size of the embedding")
        return tokenizer_of(found)
    except (ModelError, OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: {error}; put tokenizer.json of the same model (openai/whisper-…) into the folder"
        ) from error
