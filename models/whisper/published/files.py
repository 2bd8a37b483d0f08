"""The graphs of a published Whisper folder that a precision selects.

`LoadOptions.precision` selects the files: `fp32` takes names without suffix, `int8` those ending in
`_quantized` or `_int8`, `int4` those in `_q4`; `auto` takes float32 and, for each part, the quantised file
if there is no float32 one. Float32 comes first because dynamic quantisation with one scale per tensor
makes a window's text depend on its neighbours in the batch; quantised parts therefore decode one window at
a time unless a batch size is requested. Merged graphs take precedence over split ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError

SUFFIXES = {"fp32": ("",), "int8": ("_quantized", "_int8"), "int4": ("_q4",)}
"""File name suffixes of each precision, best first."""

_BASES = ("encoder_model", "decoder_model_merged", "decoder_model", "decoder_with_past_model")


@dataclass(frozen=True, slots=True)
class Files:
    """The graphs chosen from a folder; exactly one of `merged` and (`first`, `past`) is set."""

    encoder: Path
    merged: Path | None
    first: Path | None
    past: Path | None

    @property
    def graphs(self) -> tuple[Path, ...]:
        """All chosen graphs."""
        return tuple(p for p in (self.encoder, self.merged, self.first, self.past) if p is not None)

    @property
    def precision(self) -> str:
        """`fp32`, `int8`, `int4`, or `mixed`."""
        kinds = {
            name
            for path in self.graphs
            for name, suffixes in SUFFIXES.items()
            if any(path.stem == base + s for s in suffixes for base in _BASES)
        }
        return kinds.pop() if len(kinds) == 1 else "mixed"

    def fingerprint(self, path: Path) -> str:
        """SHA-256 over all that affects the text: graphs, their data, JSON files of the folder `path`."""
        data = [p for graph in self.graphs for p in sorted(graph.parent.glob(graph.name + "_data*"))]
        json_names = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json")
        total = hashlib.sha256()
        for file in [*self.graphs, *data, *(path / name for name in json_names)]:
            if file.is_file():
                with file.open("rb") as stream:
                    total.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()


def graph_folder(path: Path) -> Path:
    """The folder with the graphs: `onnx/`, or the model's own."""
    return path / "onnx" if (path / "onnx").is_dir() else path


def choose_files(path: Path, precision: str) -> Files:
    """Choose graphs by the rule above. Raises ModelError with the expected names."""
    folder = graph_folder(path)
    order = ["fp32", "int8", "int4"] if precision == "auto" else [precision]
    suffixes = [suffix for name in order for suffix in SUFFIXES[name]]

    def find(base: str) -> Path | None:
        return next((p for s in suffixes if (p := folder / f"{base}{s}.onnx").is_file()), None)

    encoder, merged = find("encoder_model"), find("decoder_model_merged")
    first, past = find("decoder_model"), find("decoder_with_past_model")
    if encoder is None or (merged is None and (first is None or past is None)):
        names = " or ".join(f"'{s}.onnx'" for s in suffixes)
        raise ModelError(
            f"{folder}: precision {precision} needs encoder_model and decoder_model_merged (or decoder_model "
            f"and decoder_with_past_model), each ending in {names}"
        )
    return Files(encoder, merged, None, None) if merged else Files(encoder, None, first, past)
