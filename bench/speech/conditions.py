"""Recordings in noise, far away, over the telephone, too loud, or at another speed.

A condition is its name and, after a colon, its strength: `pink:20`. The same recording always gives the same
samples.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import soundfile
import soxr

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from bench.speech.clips import Clip, Recording
from bench.speech.noises import coloured, sound

TALKERS = 6
"""Voices that talk at once in a babble."""

_TELEPHONE = 8000  # Hz
_BAND = (300, 3400)  # Hz


def under(samples: Samples, noise: Samples, below: float) -> Samples:
    """Samples with this noise `below` decibels under their mean power."""
    power = np.mean(noise**2)
    if not power:
        return samples
    gain = np.sqrt(np.mean(samples**2) / power) * 10 ** (-below / 20)
    return (samples + gain * noise).astype(np.float32)


def in_noise(samples: Samples, below: float, slope: float = 1.0) -> Samples:
    """Samples with noise (pink, or with another slope) this many decibels below their mean power."""
    noise = coloured(np.random.default_rng(1), len(samples) / SAMPLE_RATE + 0.01, slope)
    return under(samples, noise[: len(samples)], below)


def babble(clips: Sequence[Clip], count: int, seed: int = 1) -> Samples:
    """`count` samples of several voices at once, each saying clips in random order without a pause."""
    rng = np.random.default_rng(seed)
    total = np.zeros(count, np.float32)
    for _ in range(TALKERS):
        parts: list[Samples] = []
        while sum(map(len, parts)) < count:
            parts.append(clips[int(rng.integers(len(clips)))].samples)
        total += np.concatenate(parts)[:count]
    return total


def reverberant(samples: Samples, seconds: float) -> Samples:
    """Samples in a room whose echoes have fallen by 60 dB after `seconds`, and are together as loud as what
    comes from the speaker directly.
    """
    count = round(seconds * SAMPLE_RATE)
    echoes = np.random.default_rng(1).normal(size=count) * 10 ** (-3 * np.arange(count) / count)
    echoes[: SAMPLE_RATE // 200] = 0  # the first wall is 1.7 m away
    response = echoes / np.sqrt(np.sum(echoes**2))
    response[0] = 1
    size = 1 << (len(samples) + count).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]
    return _as_loud(wet.astype(np.float32), samples)


def _as_loud(samples: Samples, as_these: Samples) -> Samples:
    return samples * np.float32(np.sqrt(np.mean(as_these**2) / np.mean(samples**2)))


def coded(
    samples: Samples, rate: int, container: str, codec: str, compression: float | None = None
) -> Samples:
    """Samples written at `rate` Hz by libsndfile with this codec, and read again."""
    file = io.BytesIO()
    narrow = soxr.resample(samples, SAMPLE_RATE, rate)
    soundfile.write(file, narrow, rate, format=container, subtype=codec, compression_level=compression)
    file.seek(0)
    back = soxr.resample(soundfile.read(file, dtype="float32")[0], rate, SAMPLE_RATE)
    return np.resize(back, len(samples)).astype(np.float32)


def telephone(samples: Samples, codec: str) -> Samples:
    """Samples after a telephone line: 300 to 3400 Hz, 8 kHz, G.711 or GSM."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(frequency < _BAND[0]) | (frequency > _BAND[1])] = 0
    return coded(np.fft.irfft(spectrum, len(samples)).astype(np.float32), _TELEPHONE, "WAV", codec)


def clipped(samples: Samples, decibels: float) -> Samples:
    """Samples amplified so that their loud parts (99.9 %) exceed full scale by this much."""
    peak = np.quantile(np.abs(samples[np.abs(samples) > 0]), 0.999)
    return np.clip(samples / peak * np.float32(10 ** (decibels / 20)), -1, 1).astype(np.float32)


def at_speed(recording: Recording, speed: float) -> Recording:
    """The recording played at another speed, with another pitch."""
    samples = soxr.resample(recording.samples, SAMPLE_RATE * speed, SAMPLE_RATE).astype(np.float32)
    said = tuple(replace(one, start=one.start / speed, end=one.end / speed) for one in recording.said)
    return replace(recording, samples=samples, said=said)


def _over(kind: str) -> Callable[[Samples, float], Samples]:
    """A change that adds one of the sounds without speech."""

    def change(samples: Samples, below: float) -> Samples:
        noise = sound(kind, len(samples) / SAMPLE_RATE + 0.01, 1)
        return under(samples, noise[: len(samples)], below)

    return change


_CHANGES: dict[str, Callable[[Samples, float], Samples]] = {
    "white": lambda samples, below: in_noise(samples, below, 0.0),
    "pink": in_noise,
    "music": _over("music on hold"),
    "hum": _over("hum"),
    "gain": lambda samples, decibels: samples * np.float32(10 ** (decibels / 20)),
    "reverb": reverberant,
    "telephone": lambda samples, _: telephone(samples, "ULAW"),
    "gsm": lambda samples, _: telephone(samples, "GSM610"),
    "opus": lambda samples, compression: coded(samples, SAMPLE_RATE, "OGG", "OPUS", compression),
    "clipped": clipped,
}

NAMES = ("clean", "babble", "speed", *_CHANGES)


def altered(recording: Recording, condition: str, clips: Sequence[Clip]) -> Recording:
    """The recording under a condition; `clips` are the voices of a babble."""
    if condition == "clean":
        return recording
    name, _, strength = condition.partition(":")
    value = float(strength or 0)
    if name == "speed":
        recording = at_speed(recording, value)
    elif name == "babble":
        noise = babble(clips, len(recording.samples))
        recording = replace(recording, samples=under(recording.samples, noise, value))
    else:
        recording = replace(recording, samples=_CHANGES[name](recording.samples, value))
    return replace(recording, name=f"{recording.name}, {condition}")
