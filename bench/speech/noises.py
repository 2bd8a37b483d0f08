"""Sounds without speech: any text for them is invented."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from bench.speech.effects import EFFECTS

Rng = np.random.Generator
Floats = NDArray[np.float64]


def coloured(rng: Rng, seconds: float, slope: float) -> Floats:
    """Noise whose power falls with frequency to the power of `slope` (0 white, 1 pink, 2 brown)."""
    count = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 20)
    noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), count)
    return np.asarray(noise / np.abs(noise).max())


def _breath(rng: Rng, seconds: float) -> Floats:
    """Breathing: filtered noise, in and out every four seconds."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = t % 4
    swell = np.exp(-(((phase - 0.7) / 0.35) ** 2)) + 0.7 * np.exp(-(((phase - 2.2) / 0.5) ** 2))
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    frequency = np.fft.rfftfreq(len(t), 1 / SAMPLE_RATE)
    throat = sum(np.exp(-(((frequency - f) / w) ** 2)) for f, w in ((600, 400), (1700, 600), (3200, 900)))
    noise = np.fft.irfft(spectrum * throat, len(t))
    return np.asarray(0.1 * swell * noise / np.abs(noise).max() + 0.001 * rng.standard_normal(len(t)))


def _keyboard(rng: Rng, seconds: float) -> Floats:
    """Keystrokes, about six per second, with pauses."""
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    at = 0.3
    while at < seconds - 0.1:
        length = round(0.03 * SAMPLE_RATE)
        t = np.arange(length) / SAMPLE_RATE
        ring = np.sin(2 * np.pi * rng.uniform(1500, 4500) * t) + rng.standard_normal(length)
        start = round(at * SAMPLE_RATE)
        out[start : start + length] += 0.15 * rng.uniform(0.4, 1) * ring * np.exp(-t / 0.004)
        at += rng.uniform(0.08, 0.25) if rng.random() > 0.1 else rng.uniform(0.8, 2.0)
    return out


def _music(rng: Rng, seconds: float) -> Floats:
    """Music on hold: chords under a melody, telephone band."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    out = np.zeros(len(t))
    chords = ((261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7))
    for bar in range(int(seconds / 2) + 1):
        inside = (t >= 2 * bar) & (t < 2 * bar + 2)
        since = t[inside] - 2 * bar
        for tone in chords[bar % 4]:
            for partial in (1, 2, 3):
                out[inside] += np.sin(2 * np.pi * tone * partial * since) * np.exp(-since / 1.5) / partial**2
    for beat in range(int(seconds * 2)):
        inside = (t >= beat / 2) & (t < beat / 2 + 0.5)
        since = t[inside] - beat / 2
        tone = 523.3 * 2 ** (rng.integers(0, 12) / 12)
        out[inside] += np.sin(2 * np.pi * tone * since) * np.exp(-since / 0.25)
    return np.asarray(0.12 * out / np.abs(out).max() * 2)


def _dtmf(rng: Rng, seconds: float) -> Floats:
    """Touch tones of a number being dialled."""
    low, high = (697, 770, 852, 941), (1209, 1336, 1477)
    out = 0.0003 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    for place in np.arange(0.3, seconds - 0.3, 0.35):
        t = np.arange(round(0.18 * SAMPLE_RATE)) / SAMPLE_RATE
        tone = np.sin(2 * np.pi * rng.choice(low) * t) + np.sin(2 * np.pi * rng.choice(high) * t)
        start = round(place * SAMPLE_RATE)
        out[start : start + len(t)] += 0.15 * tone
    return out


def _hum(rng: Rng, seconds: float) -> Floats:
    """Mains hum with its harmonics."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6)) / k for k in (1, 2, 3, 5, 7))
    return np.asarray(0.05 * tones + 0.0005 * rng.standard_normal(len(t)))


def _ringing(rng: Rng, seconds: float) -> Floats:
    """A ringing telephone: two tones for a second, silence for two."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t)
    return np.asarray(0.1 * tones * (t % 3 < 1) + 0.0003 * rng.standard_normal(len(t)))


def _room(rng: Rng, seconds: float) -> Floats:
    """An empty room: faint pink noise with an occasional knock."""
    out = 10 ** (-50 / 20) * coloured(rng, seconds, 1.0)
    for at in rng.uniform(1, seconds - 1, int(seconds / 7)):
        t = np.arange(round(0.15 * SAMPLE_RATE)) / SAMPLE_RATE
        start = round(at * SAMPLE_RATE)
        knock = np.exp(-t / 0.03) * np.sin(2 * np.pi * 120 * t)
        out[start : start + len(t)] += 0.02 * knock
    return out


def _applause(rng: Rng, seconds: float) -> Floats:
    """Applause of many hands, swelling and fading."""
    out = np.zeros(round(seconds * SAMPLE_RATE))
    t = np.arange(round(0.02 * SAMPLE_RATE)) / SAMPLE_RATE
    for at in rng.uniform(0, seconds - 0.05, round(60 * seconds)):
        tone = np.sin(2 * np.pi * rng.uniform(700, 2500) * t) + rng.standard_normal(len(t))
        start = round(at * SAMPLE_RATE)
        out[start : start + len(t)] += rng.uniform(0.2, 1) * tone * np.exp(-t / rng.uniform(0.002, 0.006))
    swell = np.minimum(1, np.linspace(0, 6, len(out))) * np.minimum(1, np.linspace(6, 0, len(out)))
    return np.asarray(0.3 * swell * out / np.abs(out).max() + 0.0005 * rng.standard_normal(len(out)))


def _clicks(rng: Rng, seconds: float) -> Floats:
    """Mains hum and clicks of a bad contact."""
    out = _hum(rng, seconds)
    for at in rng.uniform(0, seconds - 0.1, round(2 * seconds)):
        start = round(at * SAMPLE_RATE)
        out[start : start + 40] += rng.uniform(-0.4, 0.4) * np.exp(-np.arange(40) / 8)
    return out


def _dialling(rng: Rng, seconds: float) -> Floats:
    """A telephone in use: dial tone, fast touch tones, ringing, busy signal."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    dial = np.sin(2 * np.pi * 350 * t) + np.sin(2 * np.pi * 440 * t)
    busy = np.sin(2 * np.pi * 480 * t) + np.sin(2 * np.pi * 620 * t)
    part = t / seconds
    out = 0.1 * dial * (part < 0.15) + 0.1 * busy * (part > 0.7) * (t % 1 < 0.5)
    for place in np.arange(0.17 * seconds, 0.4 * seconds, 0.14):
        inside = (t >= place) & (t < place + 0.08)
        low, high = rng.choice((697, 770, 852, 941)), rng.choice((1209, 1336, 1477))
        out[inside] += 0.15 * (np.sin(2 * np.pi * low * t[inside]) + np.sin(2 * np.pi * high * t[inside]))
    ring = (part > 0.4) & (part < 0.7) & (t % 3 < 1)
    return np.asarray(out + 0.1 * ring * (np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t)))


SOUNDS: dict[str, Callable[[Rng, float], Floats]] = {
    "breath": _breath,
    "keyboard": _keyboard,
    "brown noise": lambda rng, seconds: 0.2 * coloured(rng, seconds, 2.0),
    "pink noise": lambda rng, seconds: 0.1 * coloured(rng, seconds, 1.0),
    "white noise": lambda rng, seconds: 0.1 * coloured(rng, seconds, 0.0),
    "empty room": _room,
    "music on hold": _music,
    "touch tones": _dtmf,
    "hum": _hum,
    "ringing": _ringing,
    "applause": _applause,
    "hum and clicks": _clicks,
    "dialling": _dialling,
    "faint noise": lambda rng, seconds: 10 ** (-60 / 20) * coloured(rng, seconds, 0.5),
    **EFFECTS,
}


def sound(name: str, seconds: float, seed: int) -> Samples:
    """`seconds` of the sound called `name`, float32 in [-1, 1] at 16 kHz."""
    return np.clip(SOUNDS[name](np.random.default_rng(seed), seconds), -1, 1).astype(np.float32)
