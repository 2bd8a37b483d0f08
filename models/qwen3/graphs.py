"""Encoder and prefill: log-mel to audio features, prompt and features to the first logits and cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.qwen3.config import FRAMES_PER_CHUNK, QwenConfig
from asr_batch.models.qwen3.files import ModelFiles
from asr_batch.models.qwen3.prompt import Prompt
from asr_batch.models.qwen3.rewrite import last_position
from asr_batch.models.qwen3.sessions import can_rewrite, open_published, open_rewritten
from asr_batch.models.qwen3.trace import NotTracedError

Float32 = NDArray[np.float32]


def audio_positions(frames: int) -> int:
    """Number of audio features for `frames` log-mel frames: 13 per second, and ceil(rest / 8)."""
    whole, rest = divmod(frames, FRAMES_PER_CHUNK)
    return 13 * whole + -(-rest // 8)


@dataclass(slots=True)
class Prefill:
    """A window after its prompt: `logits` [vocab] of the next token, and the cache of `length` positions.

    Keys and values are ONNX Runtime values [layers, 1, kv_heads, length, head_dim].
    """

    logits: Float32
    keys: Any
    values: Any
    length: int


class Graphs:
    """The loaded encoder and prefill. Thread-safe."""

    def __init__(self, files: ModelFiles, config: QwenConfig, threads: int) -> None:
        self._config = config
        self._encoder = open_published(files.encoder, threads)
        self._init = _open_prefill(files.decoder_init, threads, packed=".int" in files.decoder_init.name)

    def encode(self, mel: Float32) -> Float32:
        """Audio features [1, positions, hidden] of a log-mel spectrogram [n_mels, frames].

        Raises ValueError when their number is not what the layout promises, because the prefill would
        silently accept too few.
        """
        features: Float32 = self._encoder.run(["audio_features"], {"mel": mel[None]})[0]
        expected = (1, audio_positions(mel.shape[1]), self._config.hidden)
        if features.shape != expected:
            raise ValueError(
                f"the encoder returned {features.shape} for {mel.shape[1]} frames, expected {expected}"
            )
        return features

    def prefill(self, prompt: Prompt, features: Float32) -> Prefill:
        """Run the prompt, with `features` in place of its audio pads."""
        if features.shape[1] != prompt.audio_count:
            raise ValueError(f"{features.shape[1]} audio features for {prompt.audio_count} audio pads")
        length = len(prompt.ids)
        binding = self._init.io_binding()
        binding.bind_cpu_input("input_ids", np.array([prompt.ids], np.int64))
        binding.bind_cpu_input("position_ids", np.arange(length, dtype=np.int64)[None])
        binding.bind_cpu_input("audio_features", features)
        binding.bind_cpu_input("audio_offset", np.array([prompt.audio_offset], np.int64))
        for name in ("logits", "present_keys", "present_values"):
            binding.bind_output(name)
        self._init.run_with_iobinding(binding)
        logits, keys, values = binding.get_outputs()
        return Prefill(logits.numpy()[0, -1].copy(), keys, values, length)


def _open_prefill(path: Path, threads: int, packed: bool) -> ort.InferenceSession:
    """The prefill, reduced to the logits of the last position if the graph can be rewritten.

    FP32 weights stay memory-mapped: with hundreds of rows per product, packing them gains little (measured:
    265 ms against 284 ms) and would double their memory. int4 needs packing to be fast at all.
    """
    if can_rewrite(path):
        try:
            return open_rewritten(path, threads, last_position, prepack=packed)
        except (NotTracedError, ModelError):
            pass  # an unknown exporter: run as published, with logits for all positions
    return open_published(path, threads, prepack=packed)
