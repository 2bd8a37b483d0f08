"""Measuring what a model's encoder, in float32, makes of the silence behind speech."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

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


def measure_silence(source: Source, config: WhisperConfig, recordings: Iterable[Samples]) -> Float32:
    """The table [groups, d_model] of :class:`~asr_batch.models.whisper.silence.Silence`.

    Raises ModelError when no recording is short enough to have silence behind it.
    """
    with tempfile.TemporaryDirectory(prefix="asr-batch-encoder-") as work:
        path = Path(work) / "encoder.onnx"
        data = DataFile(Path(work) / "encoder.weights")
        build_encoder(source, config, "fp32").save(path, data)
        data.close()
        session = open_session(path, provider="cpu").session

        def encode(log_mel: Float32) -> Float32:
            return np.asarray(session.run(None, {"log_mel": log_mel[None]})[0][0], np.float32)

        return average_silence(encode, recordings, config.n_mels, config.max_source_positions)
