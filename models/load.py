"""Loads a model folder as a recognizer of the family whose layout it has."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import broken_values
from asr_batch.models.recognizer import LoadOptions, ModelInfo, Recognizer

FAMILIES: tuple[str, ...] = (
    "asr_batch.models.whisper.recognizer",
    "asr_batch.models.whisper.published.recognizer",
    "asr_batch.models.qwen3.layout",
)
"""Modules of the known layouts, tried in this order. Each has `matches(path: Path) -> bool` (which looks
only at file names) and `load(path: Path, options: LoadOptions) -> Recognizer` (which raises ModelError).
"""


def load_recognizer(path: str | Path, options: LoadOptions | None = None) -> Recognizer:
    """Load the model in folder `path`.

    Raises ModelError if no family knows the layout or the files do not fit it.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder; `asr-batch models list` lists all models")
    for name in FAMILIES:
        module = import_module(name)
        if module.matches(folder):
            load = cast(Callable[[Path, LoadOptions], Recognizer], module.load)
            with broken_values(folder):
                return load(folder, options or LoadOptions())
    raise unknown_layout(folder)


def unknown_layout(folder: Path) -> ModelError:
    """The error for a folder that no family knows."""
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"
    return ModelError(
        f"{folder}: not a model folder of a known layout (found {found}); expected bundle.json, a Whisper "
        "ONNX folder as on the hub, or encoder.onnx with decoder_init.onnx and decoder_step.onnx"
    )


def identify(path: str | Path) -> ModelInfo | None:
    """Metadata of a compiled bundle without loading it; None for other folders.

    Raises ModelError for an incomplete bundle.
    """
    folder = Path(path)
    if not (folder / "bundle.json").is_file():
        return None
    from asr_batch.models.whisper.bundle import read_bundle  # families are imported when one is needed
    from asr_batch.models.whisper.config import WhisperConfig

    bundle, config = read_bundle(folder), WhisperConfig.from_folder(folder)
    known = tuple(sorted(config.languages)) if config.multilingual else ("en",)
    return ModelInfo(
        folder.name, "whisper", str(folder), bundle.sha256, bundle.precision, bundle.window, known
    )
