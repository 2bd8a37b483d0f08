"""Log-mel against `transformers` (live where installed) and against committed values."""

from __future__ import annotations

import numpy as np
import processors
import pytest

from asr_batch.models.features import log_mel, mel_filters

RATE = 16_000


def voice_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Harmonics with a moving pitch, pauses and noise: a wide dynamic range in one window."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 30))
    envelope = np.clip(np.sin(2 * np.pi * 1.3 * t), 0, 1) ** 2
    return (0.2 * wave * envelope + 1e-4 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("window", [5, 10, 30])
@pytest.mark.parametrize("seconds", [0.0125, 0.2, 3.217, 5.0, 9.99, 10.0, 31.0])
def test_equal_to_transformers(n_mels: int, window: int, seconds: float) -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=n_mels, chunk_length=window)
    audio = voice_like(seconds)[: window * RATE]
    expected = extractor(audio, sampling_rate=RATE, return_tensors="np").input_features[0]
    found = log_mel(audio, n_mels, window * RATE)
    assert found.shape == expected.shape == (n_mels, window * 100)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0])
def test_quiet_and_loud_equal_transformers(scale: float) -> None:
    transformers = pytest.importorskip("transformers")
    audio = voice_like(4.0, seed=3) * scale
    expected = transformers.WhisperFeatureExtractor()(audio, sampling_rate=RATE, return_tensors="np")
    assert np.abs(log_mel(audio, 80, 30 * RATE) - expected.input_features[0]).max() < 1e-4


def test_digital_silence_is_flat() -> None:
    found = log_mel(np.zeros(RATE, np.float32), 80, 10 * RATE)
    assert found.shape == (80, 1000)
    assert np.allclose(found, -1.5, atol=1e-6)


def test_unpadded_length_is_that_of_the_audio() -> None:
    assert log_mel(voice_like(2.0)[: 2 * RATE - 1], 128).shape == (128, 199)
    assert log_mel(np.zeros(100, np.float32), 128).shape == (128, 0)


def test_filters_have_slaney_shape() -> None:
    # First filter of openai/whisper's mel_filters.npz for 80 bins peaks at bin 1 with 0.02486259.
    filters = mel_filters(80)
    assert filters.shape == (201, 80)
    assert filters[:, 0].argmax() == 1
    assert abs(float(filters[1, 0]) - 0.02486259) < 1e-7


def test_every_processor_gives_the_same_numbers() -> None:
    """In float32, numpy's products and logarithms differ between processors, and so do texts."""
    program = """
import hashlib, numpy as np
from asr_batch.models.features import log_mel, rounded
t = np.arange(80000) / 16000
voice = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 30)) * np.sin(2 * np.pi * t) ** 2 / 5
voice += 1e-4 * np.random.default_rng(0).standard_normal(len(t))
print(hashlib.sha256(rounded(log_mel(voice.astype(np.float32), 80)).tobytes()).hexdigest())
"""
    assert len(set(processors.printed(program))) == 1
