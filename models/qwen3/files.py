"""Chooses between the FP32 and quantised graphs of a folder.

`auto` takes int4 if both int4 decoders exist, else FP32, else whatever completes the set. An explicit
precision prefers its own file for each graph and falls back to FP32, as the layout's published consumers do;
at least one decoder must exist in that precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError

GRAPHS = ("encoder", "decoder_init", "decoder_step")
DECODERS = GRAPHS[1:]
SHARED = ("config.json", "tokenizer.json", "embed_tokens.bin")
SUFFIXES = {"int4": ".int4.onnx", "int8": ".int8.onnx", "fp16": ".fp16.onnx", "fp32": ".onnx"}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The graphs to load, and their precision (`fp32`, `int4`, or `int4+fp32` for a mixed set)."""

    folder: Path
    encoder: Path
    decoder_init: Path
    decoder_step: Path
    precision: str

    @property
    def graphs(self) -> tuple[Path, Path, Path]:
        """All three."""
        return self.encoder, self.decoder_init, self.decoder_step


def looks_like_layout(folder: Path) -> bool:
    """Whether `folder` has any decoder file of this layout."""
    names = {entry.name for entry in folder.iterdir()}
    decoders = {f"{graph}{suffix}" for graph in DECODERS for suffix in SUFFIXES.values()}
    return bool(names & (decoders | {"embed_tokens.bin"}))


def choose(folder: Path, precision: str) -> ModelFiles:
    """Choose one file per graph. Raises ModelError with what is missing."""
    asked = _automatic(folder) if precision == "auto" else precision
    if not any((folder / f"{graph}{SUFFIXES[asked]}").exists() for graph in DECODERS):
        raise ModelError(
            f"{folder}: precision {asked} was requested, but there is no decoder_init{SUFFIXES[asked]}; "
            f"found {_variants(folder)}"
        )
    paths = {graph: _first(folder, graph, asked) for graph in GRAPHS}
    missing = [graph + ".onnx" for graph, path in paths.items() if path is None]
    missing += [name for name in SHARED if not (folder / name).exists()]
    if missing:
        raise ModelError(f"{folder}: incomplete Qwen3-ASR folder, missing {', '.join(missing)}")
    found = {graph: path for graph, path in paths.items() if path is not None}
    return ModelFiles(folder, **found, precision=_name(found, asked))


def _automatic(folder: Path) -> str:
    for precision in ("int4", "fp32", "int8", "fp16"):
        if all((folder / f"{graph}{SUFFIXES[precision]}").exists() for graph in DECODERS):
            return precision
    for precision in ("fp32", "int4", "int8", "fp16"):
        if any((folder / f"{graph}{SUFFIXES[precision]}").exists() for graph in DECODERS):
            return precision
    raise ModelError(
        f"{folder}: incomplete Qwen3-ASR folder, missing decoder_init.onnx and decoder_step.onnx"
    )


def _first(folder: Path, graph: str, precision: str) -> Path | None:
    for one in (precision, "fp32"):
        path = folder / f"{graph}{SUFFIXES[one]}"
        if path.exists():
            return path
    if graph == "encoder":  # all encoder files of this layout hold the same FP32 graph
        return next((p for p in (folder / f"{graph}{s}" for s in SUFFIXES.values()) if p.exists()), None)
    return None


def _name(found: dict[str, Path], asked: str) -> str:
    same = all(found[graph].name.endswith(SUFFIXES[asked]) for graph in DECODERS)
    plain = asked == "fp32" or all("." in found[graph].stem for graph in DECODERS)
    return asked if same and plain else f"{asked}+fp32"


def _variants(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*.onnx"))
    return ", ".join(names) or "no .onnx file at all"
