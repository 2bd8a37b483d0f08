"""The interface for decoder steps over all running windows, and its implementation by the published graph."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.graphs import Prefill

Float32 = NDArray[np.float32]
Embedding = NDArray[np.floating[Any]]


def open_embedding(path: Path, config: QwenConfig) -> Embedding:
    """embed_tokens.bin [vocab, hidden], memory-mapped. Raises ModelError when its size is wrong."""
    size = path.stat().st_size
    if size != config.embed_size:
        raise ModelError(
            f"{path}: {size} bytes, expected {config.embed_size} ({config.vocab} x {config.hidden} values "
            f"of {config.embed_bytes} bytes, from config.json); download the file again"
        )
    kind = np.dtype("<f2") if config.embed_bytes == 2 else np.dtype("<f4")
    return np.memmap(path, dtype=kind, mode="r", shape=(config.vocab, config.hidden))


class Stepper(Protocol):
    """Runs one decoder step for any number of its slots."""

    def admit(self, slot: int, prefill: Prefill, tokens: int) -> None:
        """Put a window into `slot`; it will generate at most `tokens` tokens."""

    def step(self, tokens: Mapping[int, int]) -> dict[int, Float32]:
        """Feed one token per slot; returns logits [vocab] per slot, valid until the next step."""

    def release(self, slot: int) -> None:
        """Remove the window from `slot`."""

    def close(self) -> None:
        """Release threads and memory."""


@dataclass(slots=True)
class _Slot:
    keys: Any
    values: Any
    length: int


class PublishedStepper:
    """The published decoder_step, one window at a time on each of `threads` threads.

    Keys and values stay ONNX Runtime values: the output of a step is bound as input of the next.
    """

    def __init__(self, session: ort.InferenceSession, embedding: Embedding, threads: int) -> None:
        self._session = session
        self._embedding = embedding
        self._slots: dict[int, _Slot] = {}
        self._threads = ThreadPoolExecutor(threads, "qwen-step") if threads > 1 else None

    def admit(self, slot: int, prefill: Prefill, tokens: int) -> None:
        """See Stepper."""
        self._slots[slot] = _Slot(prefill.keys, prefill.values, prefill.length)

    def step(self, tokens: Mapping[int, int]) -> dict[int, Float32]:
        """See Stepper."""
        run = map if self._threads is None or len(tokens) == 1 else self._threads.map
        return dict(zip(tokens, run(self._one, tokens, tokens.values()), strict=True))

    def _one(self, number: int, token: int) -> Float32:
        slot = self._slots[number]
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_embeds", self._embedding[token].astype(np.float32)[None, None])
        binding.bind_cpu_input("position_ids", np.array([[slot.length]], np.int64))
        binding.bind_ortvalue_input("past_keys", slot.keys)
        binding.bind_ortvalue_input("past_values", slot.values)
        for name in ("logits", "present_keys", "present_values"):
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        logits, slot.keys, slot.values = binding.get_outputs()
        slot.length += 1
        row: Float32 = logits.numpy()[0, 0]
        return row

    def release(self, slot: int) -> None:
        """See Stepper."""
        self._slots.pop(slot, None)

    def close(self) -> None:
        """See Stepper."""
        if self._threads is not None:
            self._threads.shutdown()
