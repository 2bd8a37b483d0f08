"""The files that a model layout needs: what to pull, and whether a folder is complete."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from asr_batch.manifests.errors import ModelError
from asr_batch.models.whisper.config import TEXT_FILES

SUFFIXES = {"fp32": "", "int8": "_quantized", "int4": "_q4"}
"""Suffix of published Whisper ONNX files for each precision."""

_WHISPER_SIDE = frozenset(TEXT_FILES)
_VOCABULARIES = frozenset({"vocabulary.txt", "vocabulary.json"})
_NEEDED_SIDE = ("config.json", "tokenizer.json")


def kind_of(names: Iterable[str]) -> str | None:
    """The kind of model with files of these names; None if no layout fits.

    Weights to compile lie in the folder itself: below it they are of something else.
    """
    found = set(names)
    weights = {PurePosixPath(name).suffix for name in found if "/" not in name}
    if "bundle.json" in found:
        return "bundle"
    stems = {PurePosixPath(name).name.split(".")[0] for name in found if name.endswith(".onnx")}
    if {"decoder_init", "decoder_step"} <= stems and "encoder" in stems:
        return "qwen3-onnx"
    if any(stem.startswith("encoder_model") for stem in stems):
        return "whisper-onnx"
    if ".safetensors" in weights:
        return "whisper-source"
    if "model.bin" in found and found & _VOCABULARIES:
        return "ctranslate2"
    if ".pt" in weights:
        return "openai"
    return None


def wanted(kind: str, names: Iterable[str], precision: str) -> list[str]:
    """The files of a repository that a model of this kind needs in one precision.

    `auto` is int8 for Whisper and int4 for Qwen3-ASR. Raises ModelError with the available files if some
    are missing.
    """
    found = sorted(set(names))
    if precision == "auto":
        precision = "int4" if kind == "qwen3-onnx" else "int8"
    if kind == "whisper-onnx":
        chosen = _whisper_graphs(found, precision) + [name for name in found if name in _WHISPER_SIDE]
    elif kind == "qwen3-onnx":
        chosen = _qwen3_files(found, precision)
    elif kind == "whisper-source":
        chosen = _source_files(found)
    elif kind == "ctranslate2":
        return ["model.bin", *(name for name in found if name in _WHISPER_SIDE | _VOCABULARIES)]
    else:
        chosen = [name for name in found if not PurePosixPath(name).name.startswith(".")]
    lacking = [name for name in _NEEDED_SIDE if kind != "bundle" and name not in chosen]
    if lacking:
        raise ModelError(f"the repository lacks {', '.join(lacking)}; a {kind} model needs it")
    return sorted(chosen)


def _with_data(found: list[str], graphs: list[str]) -> list[str]:
    """The graphs and their external data files (`model.onnx_data`, `model.onnx.data`)."""
    return graphs + [
        name for name in found for graph in graphs if name.startswith((graph + "_", graph + "."))
    ]


def _whisper_graphs(found: list[str], precision: str) -> list[str]:
    if precision not in SUFFIXES:
        raise ModelError(f"precision {precision!r} is not one of {', '.join(SUFFIXES)}")
    ending = SUFFIXES[precision]
    for stems in (("decoder_model_merged",), ("decoder_model", "decoder_with_past_model")):
        graphs = [f"onnx/{stem}{ending}.onnx" for stem in ("encoder_model", *stems)]
        if set(graphs) <= set(found):
            return _with_data(found, graphs)
    have = ", ".join(name for name in found if name.endswith(".onnx")) or "no ONNX file"
    raise ModelError(
        f"the repository has no {precision} graphs (encoder_model{ending}.onnx and decoder): {have}"
    )


def _qwen3_files(found: list[str], precision: str) -> list[str]:
    side = [name for name in found if "/" not in name and name.endswith((".json", ".bin"))]
    graphs = []
    for stem in ("encoder", "decoder_init", "decoder_step"):
        names = [f"{stem}.{precision}.onnx", f"{stem}.onnx"]
        if stem == "encoder":  # the published encoder.int4.onnx is a copy of the float one
            names.reverse()
        have = [name for name in names if name in found]
        if not have:
            raise ModelError(f"the repository lacks {stem}.onnx")
        graphs.append(have[0])
    tag = f".{precision}." if any(f".{precision}." in name for name in graphs) else "."
    data = [name for name in (f"decoder_weights{tag}data",) if name in found]
    return side + _with_data(found, graphs) + data


def _source_files(found: list[str]) -> list[str]:
    weights = [name for name in found if name.endswith(".safetensors") and "fp32" not in name]
    if not weights:
        raise ModelError("the repository has no .safetensors file; weights in pickle files are not supported")
    index = [name for name in found if name == "model.safetensors.index.json"]
    return weights + index + [name for name in found if name in _WHISPER_SIDE]


def has_precision(names: Iterable[str], precision: str) -> bool:
    """Whether the files of a stored model have this precision (always true for weights and bundles)."""
    found = set(names)
    kind = kind_of(found)
    if precision == "auto" or kind not in ("whisper-onnx", "qwen3-onnx"):
        return True
    if kind == "whisper-onnx":
        return f"onnx/encoder_model{SUFFIXES[precision]}.onnx" in found
    return f"decoder_init{'' if precision == 'fp32' else '.' + precision}.onnx" in found
