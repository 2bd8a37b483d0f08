"""Building blocks of synthesised sounds: bands of noise, tones, vowels, melodies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE

Rng = np.random.Generator
Floats = NDArray[np.float64]

_SCALE = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale


def clock(seconds: float) -> Floats:
    """The time of each sample in seconds."""
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def band(rng: Rng, count: int, peaks: tuple[tuple[float, float], ...]) -> Floats:
    """Noise of `count` samples with peaks at (Hz, width in Hz)."""
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    shape = sum(np.exp(-(((frequency - at) / width) ** 2)) for at, width in peaks)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * shape, count)
    return np.asarray(noise / np.abs(noise).max())


def add(out: Floats, at: float, part: Floats) -> None:
    """Add `part` at second `at`, cut at the end."""
    start = min(round(at * SAMPLE_RATE), len(out))
    end = min(len(out), start + len(part))
    out[start:end] += part[: end - start]


def tone(pitch: Floats, partials: Floats) -> Floats:
    """A tone of harmonics with these amplitudes; `pitch` in Hz at each sample."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    tones = (a * np.sin(k * phase) * (k * pitch < 7500) for k, a in enumerate(partials, 1))
    return np.asarray(sum(tones))


def voiced(pitch: Floats, formants: tuple[float, ...]) -> Floats:
    """A sung or barked vowel: pulses of the vocal folds through the formants."""
    partials = np.arange(1, 40)
    middle = float(np.mean(pitch)) * partials
    shape = sum(np.exp(-(((middle - f) / (0.12 * f + 60)) ** 2)) for f in formants)
    sound = tone(pitch, (0.02 + shape) / partials**0.5)
    return np.asarray(sound / np.abs(sound).max())


def swelling(t: Floats, attack: float, length: float) -> Floats:
    """An envelope that rises for `attack` seconds and falls as long before `length`."""
    return np.minimum(1, t / attack) * np.minimum(1, np.maximum(0, length - t) / attack)


def melody(rng: Rng, seconds: float, note: Callable[[Rng, Floats, float], Floats]) -> Floats:
    """Notes of a major scale, 0.3 to 1.2 s each, now and then a rest."""
    out = np.zeros(round(seconds * SAMPLE_RATE))
    at, step = 0.1, 3
    while at < seconds - 0.2:
        length = float(rng.choice([0.3, 0.45, 0.6, 1.2]))
        step = int(np.clip(step + rng.integers(-2, 3), 0, 7))
        if rng.random() > 0.12:
            add(out, at, note(rng, clock(length), 2 ** (_SCALE[step] / 12)))
        at += length
    return np.asarray(0.3 * out / np.abs(out).max())
