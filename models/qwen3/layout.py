"""The family's entry: is a folder of this layout, and load it.

The layout: encoder.onnx, decoder_init.onnx, decoder_step.onnx (or their int4 variants) with external data,
embed_tokens.bin, config.json and tokenizer.json (seed 004; contract qwen3-asr).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.load import LoadOptions
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.files import ModelFiles, choose, looks_like_layout
from asr_batch.models.qwen3.graphs import Graphs
from asr_batch.models.qwen3.languages import NAMES
from asr_batch.models.qwen3.prompt import PromptWriter
from asr_batch.models.qwen3.recognizer import QwenRecognizer
from asr_batch.models.qwen3.steppers import PublishedStepper, open_embedding
from asr_batch.models.recognizer import ModelInfo, Recognizer

WINDOW = 30.0
"""Seconds of a window unless the caller says otherwise (the vendor's setting for short requests)."""

CAPABILITIES = frozenset({"language_detection", "prompt", "temperature"})


def matches(path: Path) -> bool:
    """Whether the folder has files of this layout's own names."""
    return looks_like_layout(path)


def load(path: Path, options: LoadOptions) -> Recognizer:
    """Load the model in `path`. Raises ModelError for whatever does not fit the layout."""
    files = choose(path, options.precision)
    config = QwenConfig.from_folder(path)
    writer = PromptWriter(path, config)
    embedding = open_embedding(path / "embed_tokens.bin", config)
    if options.provider not in ("auto", "cpu"):
        raise ModelError(f"provider {options.provider!r}: the Qwen3-ASR family runs on cpu")
    threads = options.threads or len(os.sched_getaffinity(0))
    graphs = Graphs(files, config, threads)
    batch = options.batch_size or threads
    stepper = PublishedStepper(graphs.step, embedding, threads)
    return QwenRecognizer(_info(files, options, batch), config, graphs, stepper, writer)


def _info(files: ModelFiles, options: LoadOptions, batch: int) -> ModelInfo:
    return ModelInfo(
        name=files.folder.name,
        family="qwen3-asr",
        path=str(files.folder),
        sha256=fingerprint(files),
        precision=files.precision,
        window=options.window or WINDOW,
        languages=tuple(sorted(NAMES)),
        capabilities=CAPABILITIES,
        batch=batch,
    )


def fingerprint(files: ModelFiles) -> str:
    """SHA-256 over names and contents of every file that decides what comes out."""
    total = hashlib.sha256()
    used = {files.encoder, files.decoder_init, files.decoder_step, *files.folder.glob("*.data")}
    used |= {files.folder / name for name in ("config.json", "tokenizer.json", "embed_tokens.bin")}
    for path in sorted(used):
        with path.open("rb") as handle:
            total.update(f"{path.name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
