"""Log-mel features as Whisper and Qwen3-ASR expect them, in numpy.

Equal to `transformers.WhisperFeatureExtractor` (25 ms periodic Hann window, 10 ms hop, centred frames with
reflect padding, last frame dropped, Slaney mel filters, log10 clamped to 8 below the window's maximum,
(x + 4) / 4) within 1e-4; `tests/models/test_features.py` compares them.

Computed in float64, because products and logarithms differ between processors in their last bits, and a
last bit changes texts (docs/decisions.md). Where results must be equal on all, :func:`rounded` comes after.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE, Samples

N_FFT = 400
HOP = 160
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
_BLOCK = 64  # frames transformed at once, so that the data stay in the cache
_FLOOR = 1e-10  # the extractor treats power below this as silence
_BREAK_HZ, _LINEAR_STEP, _LOG_STEP = 1000.0, 200.0 / 3.0, np.log(6.4) / 27.0  # Slaney's mel scale


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_STEP
    return float(_BREAK_HZ / _LINEAR_STEP + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _BREAK_HZ / _LINEAR_STEP
    high = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee))
    return np.where(mel < knee, mel * _LINEAR_STEP, high)


@cache
def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Triangular filters [201, n_mels] from 0 to 8000 Hz, Slaney scale, each of unit area (Slaney norm)."""
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), n_mels + 2))
    width = np.diff(edges)
    rising = (bins[:, None] - edges[None, :-2]) / width[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / width[None, 1:]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


class _Band(NamedTuple):
    """Neighbouring filters, their bins, and their weights [bins, filters]."""

    bins: slice
    filters: slice
    weights: NDArray[np.float64]


@cache
def _bands(n_mels: int) -> tuple[_Band, ...]:
    """The filters in four bands.

    Each band uses only some of the bins, which leaves a quarter of the products, and keeps each product
    below the size at which OpenBLAS starts more threads; these would spin beside the decoder.
    """
    whole, bands = mel_filters(n_mels), []
    for filters in np.array_split(np.arange(n_mels), 4):
        columns = slice(int(filters[0]), int(filters[-1]) + 1)
        heard = np.flatnonzero(whole[:, columns].any(axis=1))
        bins = slice(int(heard[0]), int(heard[-1]) + 1) if len(heard) else slice(0, 1)
        bands.append(_Band(bins, columns, whole[bins, columns].astype(np.float64)))
    return tuple(bands)


@cache
def _hann() -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)


def log_mel(samples: Samples, n_mels: int, n_samples: int | None = None) -> NDArray[np.float32]:
    """Log-mel spectrogram [n_mels, frames] of mono 16 kHz `samples` in [-1, 1].

    With `n_samples` the audio is first padded with zeros or cut to that length, as for Whisper, and frames
    = n_samples // 160; without, frames = len(samples) // 160 (Qwen3-ASR). Audio of 200 samples or fewer
    cannot be reflected and is padded with zeros to 201 first.
    """
    total = len(samples) if n_samples is None else n_samples
    audio = np.asarray(samples[:total], dtype=np.float32)
    frames = total // HOP
    # Frames that contain only padding need no transform: they are at the floor.
    heard = min(frames, (len(audio) + N_FFT // 2) // HOP + 1)
    out = np.full((n_mels, frames), np.log10(_FLOOR))
    if frames and heard:
        out[:, :heard] = _log_power(_padded(audio, total), n_mels, heard)
        np.maximum(out, out.max() - 8.0, out=out)
    out += 4.0
    out *= 0.25
    return out.astype(np.float32)


def rounded(numbers: NDArray[Any], levels: int = 1 << 16) -> NDArray[Any]:
    """Features, or others, in multiples of 1 / `levels`: the same numbers on every processor."""
    found: NDArray[Any] = np.rint(numbers * levels)
    found /= levels
    return found


def _padded(audio: Samples, total: int) -> Samples:
    """`audio` padded with zeros to `total` samples, with 200 reflected samples on both sides."""
    half = N_FFT // 2
    padded = np.zeros(max(total, half + 1) + N_FFT, np.float32)
    padded[half : half + len(audio)] = audio
    padded[:half] = padded[2 * half : half : -1]
    padded[-half:] = padded[-half - 2 : -2 * half - 2 : -1]
    return padded


def _log_power(padded: Samples, n_mels: int, frames: int) -> NDArray[np.float64]:
    """log10 of the mel power [n_mels, frames] of the first `frames` frames."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][:frames]
    power = np.zeros((_BLOCK, N_FFT // 2 + 1))
    mel = np.empty((frames, n_mels))
    for at in range(0, frames, _BLOCK):
        spectrum = np.fft.rfft(windows[at : at + _BLOCK] * _hann(), axis=-1)
        power[: len(spectrum)] = spectrum.real**2 + spectrum.imag**2
        for band in _bands(n_mels):
            # All rows every time, so that a frame's values do not depend on their number.
            product = power[:, band.bins] @ band.weights
            mel[at : at + _BLOCK, band.filters] = product[: len(spectrum)]
    np.maximum(mel, _FLOOR, out=mel)
    return np.log10(mel, out=mel).T
