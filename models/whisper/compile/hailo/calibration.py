"""Writes calibration sets for Hailo's compiler to disk: log-mel windows, and inputs of the decoder.

Calibration data of an 8-bit network must resemble its later input, so the windows use this package's
log-mel, padded with zeros at the end of each recording.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from asr_batch.models.features import HOP, log_mel
from asr_batch.models.onnx.sessions import open_session
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.config import WhisperConfig

Float32 = NDArray[np.float32]
DECODER_WINDOWS = 32
"""Windows in the decoder's calibration set; each needs one decoder run per token."""
SHORTEST = 0.5
"""Seconds below which a recording's last piece is left out."""


def windows_of(recordings: Iterable[Samples], n_mels: int, frames: int) -> Iterator[Float32]:
    """Log-mel [n_mels, frames] of consecutive windows of each recording."""
    size = frames * HOP
    for samples in recordings:
        for start in range(0, len(samples), size):
            piece = samples[start : start + size]
            if len(piece) >= SHORTEST * 16_000 or start == 0:
                yield log_mel(piece, n_mels, size)


def write_calibration(path: Path, recordings: Iterable[Samples], n_mels: int, frames: int, limit: int) -> int:
    """Write float32 [N, 1, frames, n_mels] (NHWC, as the compiler expects); returns N, at most `limit`."""
    count = 0
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        for window in windows_of(recordings, n_mels, frames):
            if count >= limit:
                break
            file.write(np.ascontiguousarray(window.T, np.float32).tobytes())
            count += 1
    with path.open("wb") as file, raw.open("rb") as data:
        shape = (count, 1, frames, n_mels)
        npy.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        shutil.copyfileobj(data, file)
    raw.unlink()
    return count


def write_decoder_calibration(
    out: Path, config: WhisperConfig, table: Float32, learned: Float32, facts: Mapping[str, Any]
) -> int:
    """Write hidden states and embedded tokens of some windows, decoded greedily; returns their number."""
    windows = np.load(out / "encoder_calibration.npy", mmap_mode="r")[:DECODER_WINDOWS]
    encoder = open_session(out / "encoder.onnx").session
    decoder = open_session(out / "decoder.onnx").session
    hidden, tokens = [], []
    for window in windows:
        states = encoder.run(None, {"log_mel": np.ascontiguousarray(window.transpose(2, 0, 1)[np.newaxis])})[
            0
        ]
        hidden.append(states)
        ids = _greedy(decoder, config, states, int(facts["tokens"]))
        tokens.append(table[ids] + (learned if facts["host_adds_positions"] else 0))
    arrays = {
        "decoder/input_layer1": np.stack(hidden).astype(np.float32),
        "decoder/input_layer2": np.stack(tokens)[:, :, np.newaxis].astype(np.float32),
    }
    np.savez(out / "decoder_calibration.npz", **arrays)  # type: ignore[arg-type]
    return len(hidden)


def _greedy(decoder: Any, config: WhisperConfig, hidden: Float32, length: int) -> NDArray[np.int64]:
    """Ids [length] of a greedy decoding, padded with zeros."""
    ids = np.zeros((1, length), np.int64)
    prefix = _prefix(config)
    ids[0, : len(prefix)] = prefix
    for at in range(len(prefix) - 1, length - 1):
        logits = decoder.run(None, {"decoder_input_ids": ids, "encoder_hidden_states": hidden})[0]
        ids[0, at + 1] = int(logits[0, at].argmax())
        if ids[0, at + 1] == config.eot:
            break
    return np.asarray(ids[0])


def _prefix(config: WhisperConfig) -> list[int]:
    language = config.languages.get("en", next(iter(config.languages.values()), None))
    spoken = [language, config.transcribe] if config.multilingual else []
    return [i for i in (config.sot, *spoken, config.no_timestamps) if i is not None]
