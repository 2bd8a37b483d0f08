"""Recognises and loads a folder of this layout.

The layout: encoder.onnx, decoder_init.onnx and decoder_step.onnx (or their int4 variants) with external data,
embed_tokens.bin, config.json and tokenizer.json, as published in
huggingface.co/andrewleech/qwen3-asr-0.6b-onnx.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.features import log_mel
from asr_batch.models.onnx.writer import read_graph
from asr_batch.models.qwen3.batched import BatchedStepper
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.files import SHARED, ModelFiles, choose, looks_like_layout
from asr_batch.models.qwen3.graphs import Graphs
from asr_batch.models.qwen3.languages import NAMES
from asr_batch.models.qwen3.memory import Plan, plan
from asr_batch.models.qwen3.prompt import Prompt, PromptWriter
from asr_batch.models.qwen3.recognizer import QwenRecognizer
from asr_batch.models.qwen3.rewrite import batched_step, frequencies
from asr_batch.models.qwen3.sessions import (
    can_rewrite,
    check_layout,
    open_published,
    open_rewritten,
)
from asr_batch.models.qwen3.steppers import Embedding, PublishedStepper, Stepper, open_embedding
from asr_batch.models.qwen3.trace import NotTracedError
from asr_batch.models.recognizer import SAMPLE_RATE, LoadOptions, ModelInfo, Recognizer

WINDOW = 30.0
"""Default length of a window in seconds (the vendor's for short requests)."""

SLOTS = 8
"""Default number of windows that decode together."""

CAPABILITIES = frozenset({"prompt"})
"""Without `language_detection`: every window names its language in the answer, at no extra cost."""


def matches(path: Path) -> bool:
    """Whether the folder has files with this layout's names."""
    return looks_like_layout(path)


def load(path: Path, options: LoadOptions) -> Recognizer:
    """Load the model in `path`. Raises ModelError if anything does not fit the layout."""
    if options.provider not in ("auto", "cpu"):
        raise ModelError(f"provider {options.provider!r}: Qwen3-ASR runs on cpu only")
    files = choose(path, options.precision)
    config = QwenConfig.from_folder(path)
    writer = PromptWriter(path, config)
    embedding = open_embedding(path / "embed_tokens.bin", config)
    data = {one for graph in files.graphs for one in check_layout(graph, config)}
    window = options.window or WINDOW
    weights = sum(one.stat().st_size for one in data)
    fitting = plan(files, config, weights, options.batch_size or SLOTS, window)
    threads = options.threads or len(os.sched_getaffinity(0))
    graphs = Graphs(files, config, threads)
    stepper = _Check(graphs, writer, path, config.n_mels).stepper(files, config, embedding, threads, fitting)
    info = _info(files, data, window, fitting.slots)
    return QwenRecognizer(info, config, graphs, stepper, writer)


class _Check:
    """Self-test at load: runs a short sound through encoder and prefill, compares a step with the prefill.

    The reference for a step is the prefill of one more token, which needs no second copy of the weights.
    """

    def __init__(self, graphs: Graphs, writer: PromptWriter, folder: Path, n_mels: int) -> None:
        tone = np.sin(np.arange(SAMPLE_RATE // 2) / 20).astype(np.float32)
        self._graphs = graphs
        try:
            self._features = graphs.encode(log_mel(tone, n_mels, None))
            self._prompt = writer.write(self._features.shape[1])
            self._whole = graphs.prefill(self._prompt, self._features).logits
        except Exception as error:
            raise ModelError(f"{folder}: the model does not run: {error}") from error
        if not np.isfinite(self._whole).all():
            raise ModelError(
                f"{folder}: the model returns values that are not finite; its weights are damaged"
            )

    def stepper(
        self, files: ModelFiles, config: QwenConfig, embedding: Embedding, threads: int, fitting: Plan
    ) -> Stepper:
        """Our batched step if the graph can be rewritten and agrees, else the published one."""
        path = files.decoder_step
        if can_rewrite(path):
            try:
                session = open_rewritten(
                    path, threads, lambda graph: batched_step(graph, config), fitting.packed
                )
                turns = frequencies(read_graph(path), config)
                batched = BatchedStepper(session, embedding, config, fitting.slots, turns)
                both_exact = files.precision == "fp32"
                if self._agrees(batched, 1e-3 if both_exact else 0.25):
                    return batched
            except (NotTracedError, ModelError):
                pass  # an unknown exporter, or a runtime without the operator
        session = open_published(path, 1, fitting.packed)
        return PublishedStepper(session, embedding, threads)

    def _agrees(self, stepper: Stepper, tolerance: float) -> bool:
        """Whether a step on the prompt's last token gives the prefill's logits, relative to their size.

        Quantised graphs round activations too, and a mixed folder has two precisions: results differ by a few
        hundredths. With a wrong graph they have nothing in common.
        """
        whole = self._prompt
        short = Prompt(whole.ids[:-1], whole.audio_offset, whole.audio_count)
        prefill = self._graphs.prefill(short, self._features)
        try:
            stepper.admit(0, prefill, 1)
            found = stepper.step({0: whole.ids[-1]})[0]
        except Exception:  # noqa: BLE001  the operator takes some sizes only, and says so when it runs
            return False
        stepper.release(0)
        error = float(np.linalg.norm(found - self._whole) / np.linalg.norm(self._whole))
        return error < tolerance


def _info(files: ModelFiles, data: set[Path], window: float, batch: int) -> ModelInfo:
    return ModelInfo(
        name=files.folder.name,
        family="qwen3-asr",
        path=str(files.folder),
        sha256=fingerprint(files, data),
        precision=files.precision,
        window=window,
        languages=tuple(sorted(NAMES)),
        capabilities=CAPABILITIES,
        batch=batch,
    )


def fingerprint(files: ModelFiles, data: set[Path]) -> str:
    """SHA-256 over names and contents of every file that affects the output."""
    total = hashlib.sha256()
    used = {*files.graphs, *data, *(files.folder / name for name in SHARED)}
    for path in sorted(used):
        with path.open("rb") as handle:
            total.update(f"{path.name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
