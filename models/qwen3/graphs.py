"""The three ONNX Runtime sessions of a model and what goes through them."""

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

Float32 = NDArray[np.float32]


def audio_positions(frames: int) -> int:
    """Audio features that the encoder makes of `frames` log-mel frames: 13 a second, ceil(rest / 8) more."""
    whole, rest = divmod(frames, FRAMES_PER_CHUNK)
    return 13 * whole + -(-rest // 8)


@dataclass(slots=True)
class Prefill:
    """A window after its prompt: `logits` [vocab] of the next token, its keys and values, `length` of them."""

    logits: Float32
    keys: Any
    values: Any
    length: int


class Graphs:
    """Encoder and the two decoders, loaded; every method may be called from any thread."""

    def __init__(self, files: ModelFiles, config: QwenConfig, threads: int) -> None:
        self._config = config
        self._encoder = open_session(files.encoder, threads)
        self._init = open_session(files.decoder_init, threads)
        self.step = open_session(files.decoder_step, 1)
        for session, path in ((self._encoder, files.encoder), (self._init, files.decoder_init)):
            check_tensors(session, path, config)
        check_tensors(self.step, files.decoder_step, config)

    def encode(self, mel: Float32) -> Float32:
        """Audio features [1, positions, hidden] of a log-mel spectrogram [n_mels, frames]."""
        features: Float32 = self._encoder.run(["audio_features"], {"mel": mel[None]})[0]
        expected = (1, audio_positions(mel.shape[1]), self._config.hidden)
        if features.shape != expected:
            raise ValueError(
                f"the encoder made features {features.shape} of {mel.shape[1]} frames, expected {expected}"
            )
        return features

    def prefill(self, prompt: Prompt, features: Float32) -> Prefill:
        """Run the prompt with `features` in the place of its audio pads."""
        if features.shape[1] != prompt.audio_count:
            raise ValueError(
                f"{features.shape[1]} audio features for {prompt.audio_count} places of the prompt"
            )
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


def open_session(path: Path, threads: int) -> ort.InferenceSession:
    """Load a graph on the CPU with `threads` threads. Raises ModelError in words for what may be wrong."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ORT raises several types, by version
        raise ModelError(
            f"{path}: ONNX Runtime {ort.__version__} cannot load it: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]


_RANKS: dict[str, dict[str, tuple[str, int]]] = {
    "encoder": {"mel": ("float", 3), "audio_features": ("float", 3)},
    "decoder_init": {
        "input_ids": ("int64", 2),
        "position_ids": ("int64", 2),
        "audio_features": ("float", 3),
        "audio_offset": ("int64", 1),
        "logits": ("float", 3),
        "present_keys": ("float", 5),
        "present_values": ("float", 5),
    },
    "decoder_step": {
        "input_embeds": ("float", 3),
        "position_ids": ("int64", 2),
        "past_keys": ("float", 5),
        "past_values": ("float", 5),
        "logits": ("float", 3),
        "present_keys": ("float", 5),
        "present_values": ("float", 5),
    },
}
"""Tensors of each graph: element type and rank (contract of the layout, section 2)."""


def check_tensors(session: ort.InferenceSession, path: Path, config: QwenConfig) -> None:
    """Compare the graph's tensors with the layout and with config.json. Raises ModelError."""
    graph = path.name.split(".")[0]
    found = {one.name: one for one in (*session.get_inputs(), *session.get_outputs())}
    if graph == "decoder_init" and "input_embeds" in found:
        raise ModelError(
            f"{path}: this is the older first version of the layout (decoder_init takes input_embeds); "
            "export or download the model again in the present one (input_ids with audio_features)"
        )
    sizes = _fixed_sizes(config)
    for name, (kind, rank) in _RANKS[graph].items():
        if name not in found:
            raise ModelError(
                f"{path}: tensor {name!r} is missing; expected {sorted(_RANKS[graph])}, found {sorted(found)}"
            )
        one = found[name]
        if one.type != f"tensor({kind})" or len(one.shape) != rank:
            raise ModelError(
                f"{path}: tensor {name!r} is {one.type} {one.shape}, expected tensor({kind}) of rank {rank}"
            )
        for axis, size in sizes.get(name, {}).items():
            if isinstance(one.shape[axis], int) and one.shape[axis] != size:
                raise ModelError(
                    f"{path}: tensor {name!r} has size {one.shape[axis]} on axis {axis}, "
                    f"config.json says {size}"
                )
    extra = sorted({one.name for one in session.get_inputs()} - set(_RANKS[graph]))
    if extra:
        raise ModelError(f"{path}: unknown inputs {extra}; expected {sorted(_RANKS[graph])}")


def _fixed_sizes(config: QwenConfig) -> dict[str, dict[int, int]]:
    cache = {0: config.layers, 2: config.kv_heads, 4: config.head_dim}
    return {
        "mel": {0: 1, 1: config.n_mels},
        "audio_features": {2: config.hidden},
        "input_embeds": {2: config.hidden},
        "logits": {2: config.vocab},
        **dict.fromkeys(("past_keys", "past_values", "present_keys", "present_values"), cache),
    }
