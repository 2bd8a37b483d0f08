"""Measurements before a bundle is written: states of silence, and layers that need a scale per row.

Both use the full encoder in float32 on recordings padded to the full length.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx.sessions import open_session
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.compile.encoder import build_encoder
from asr_batch.models.whisper.compile.graph import DataFile
from asr_batch.models.whisper.compile.weights import Source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import average_silence

Float32 = NDArray[np.float32]
_SPIKE = 4.0
"""Ratio of a window's largest value to that of its median row from which a layer gets a scale per row. Of
Whisper-base's six layers, three have 4 to 22; of tiny's four, one has 13; all others have at most 3.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """States of silence [groups, d_model], and encoder layers with outliers before their last product."""

    silence: Float32
    spiky: frozenset[int]


def measure(source: Source, config: WhisperConfig, recordings: Iterable[Samples]) -> Measured:
    """Run the encoder of `source` over the recordings."""
    ratios: list[Float32] = []
    with _watched_encoder(source, config) as session:

        def encode(log_mel: Float32) -> Float32:
            hidden, peaks = session.run(["hidden", "peaks"], {"log_mel": log_mel[None]})
            ratios.append(peaks[0].max(axis=1) / np.maximum(np.median(peaks[0], axis=1), 1e-6))
            return np.asarray(hidden[0], np.float32)

        silence = average_silence(encode, recordings, config.n_mels, config.max_source_positions)
    spikes = np.median(ratios, axis=0)
    return Measured(silence, frozenset(np.flatnonzero(spikes > _SPIKE).tolist()))


@contextmanager
def _watched_encoder(source: Source, config: WhisperConfig) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="asr-batch-encoder-") as work:
        path = Path(work) / "encoder.onnx"
        data = DataFile(Path(work) / "encoder.weights")
        build_encoder(source, config, "fp32", watched=True).save(path, data)
        data.close()
        yield open_session(path, provider="cpu").session
