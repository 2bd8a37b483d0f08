"""More sounds without speech: weather, traffic, animals, bodies, instruments and machines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE

Rng = np.random.Generator
Floats = NDArray[np.float64]

_VOWELS = ((700, 1200, 2600), (400, 2000, 2700), (320, 800, 2400), (500, 900, 2500))  # Hz: a, e, u, o
_SCALE = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale


def _clock(seconds: float) -> Floats:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _band(rng: Rng, count: int, peaks: tuple[tuple[float, float], ...]) -> Floats:
    """Noise of `count` samples with peaks at (Hz, width in Hz)."""
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    shape = sum(np.exp(-(((frequency - at) / width) ** 2)) for at, width in peaks)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * shape, count)
    return np.asarray(noise / np.abs(noise).max())


def _add(out: Floats, at: float, part: Floats) -> None:
    """Add `part` at second `at`, cut at the end."""
    start = min(round(at * SAMPLE_RATE), len(out))
    end = min(len(out), start + len(part))
    out[start:end] += part[: end - start]


def _tone(pitch: Floats, partials: Floats) -> Floats:
    """A tone of harmonics with these amplitudes; `pitch` in Hz at each sample."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    tones = (a * np.sin(k * phase) * (k * pitch < 7500) for k, a in enumerate(partials, 1))
    return np.asarray(sum(tones))


def _voiced(pitch: Floats, formants: tuple[float, ...]) -> Floats:
    """A sung or barked vowel: pulses of the vocal folds through the formants."""
    partials = np.arange(1, 40)
    middle = float(np.mean(pitch)) * partials
    shape = sum(np.exp(-(((middle - f) / (0.12 * f + 60)) ** 2)) for f in formants)
    sound = _tone(pitch, (0.02 + shape) / partials**0.5)
    return np.asarray(sound / np.abs(sound).max())


def _swelling(t: Floats, attack: float, length: float) -> Floats:
    return np.minimum(1, t / attack) * np.minimum(1, np.maximum(0, length - t) / attack)


def _melody(rng: Rng, seconds: float, note: Callable[[Rng, Floats, float], Floats]) -> Floats:
    """Notes of a major scale, 0.3 to 1.2 s each, now and then a rest."""
    out = np.zeros(round(seconds * SAMPLE_RATE))
    at, step = 0.1, 3
    while at < seconds - 0.2:
        length = float(rng.choice([0.3, 0.45, 0.6, 1.2]))
        step = int(np.clip(step + rng.integers(-2, 3), 0, 7))
        if rng.random() > 0.12:
            _add(out, at, note(rng, _clock(length), 2 ** (_SCALE[step] / 12)))
        at += length
    return np.asarray(0.3 * out / np.abs(out).max())


def _humming(rng: Rng, seconds: float) -> Floats:
    """A melody sung on vowels, with vibrato: no words."""

    def note(rng: Rng, t: Floats, height: float) -> Floats:
        pitch = 196 * height * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * t))
        return _voiced(pitch, _VOWELS[rng.integers(len(_VOWELS))]) * _swelling(t, 0.06, t[-1])

    return _melody(rng, seconds, note) + 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))


def _violin(rng: Rng, seconds: float) -> Floats:
    """A bowed melody with vibrato."""

    def note(_: Rng, t: Floats, height: float) -> Floats:
        pitch = 392 * height * (1 + 0.008 * np.sin(2 * np.pi * 6 * t))
        return _tone(pitch, 1 / np.arange(1, 16)) * _swelling(t, 0.08, t[-1])

    return _melody(rng, seconds, note)


def _flute(rng: Rng, seconds: float) -> Floats:
    """A flute or a whistler: nearly pure tones with breath."""

    def note(rng: Rng, t: Floats, height: float) -> Floats:
        pitch = 784 * height * (1 + 0.006 * np.sin(2 * np.pi * 5 * t))
        tone = _tone(pitch, np.array([1, 0.15, 0.05]))
        return (tone + 0.05 * rng.standard_normal(len(t))) * _swelling(t, 0.05, t[-1])

    return _melody(rng, seconds, note)


def _rain(rng: Rng, seconds: float) -> Floats:
    """Steady rain with drops close by."""
    out = 0.05 * _band(rng, round(seconds * SAMPLE_RATE), ((3000, 2500), (6000, 2000)))
    for at in rng.uniform(0, seconds, round(25 * seconds)):
        t = _clock(0.02)
        _add(
            out,
            at,
            rng.uniform(0.02, 0.15) * np.sin(2 * np.pi * rng.uniform(1500, 5000) * t) * np.exp(-t / 0.003),
        )
    return out


def _traffic(rng: Rng, seconds: float) -> Floats:
    """Cars that pass, one every few seconds, and sometimes a horn."""
    t = _clock(seconds)
    out = 0.02 * _band(rng, len(t), ((80, 80), (400, 300)))
    road = _band(rng, len(t), ((150, 120), (700, 500), (1500, 700)))
    for at in rng.uniform(0, seconds, max(1, round(seconds / 4))):
        out += 0.15 * road * np.exp(-(((t - at) / rng.uniform(0.6, 1.5)) ** 2))
    for at in rng.uniform(0, seconds, round(seconds / 15)):
        horn = _clock(rng.uniform(0.2, 0.8))
        _add(out, at, 0.1 * (np.sin(2 * np.pi * 420 * horn) + np.sin(2 * np.pi * 530 * horn)))
    return out


def _fan(rng: Rng, seconds: float) -> Floats:
    """A fan or vacuum cleaner: blades and moving air."""
    t = _clock(seconds)
    air = _band(rng, len(t), ((500, 600), (2000, 1500)))
    blades = _tone(np.full(len(t), 117.0), 1 / np.arange(1, 9) ** 1.5)
    return np.asarray(0.08 * air * (1 + 0.3 * np.sin(2 * np.pi * 11 * t)) + 0.04 * blades)


def _barking(rng: Rng, seconds: float) -> Floats:
    """A dog: one to four barks, then a pause."""
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    at = 0.2
    while at < seconds - 0.3:
        for _ in range(rng.integers(1, 5)):
            t = _clock(rng.uniform(0.12, 0.25))
            fall = 1 + 0.5 * np.exp(-(((t - 0.04) / 0.04) ** 2))
            bark = _voiced(rng.uniform(350, 550) * fall, (800, 1600, 2800)) + 0.4 * rng.standard_normal(
                len(t)
            )
            _add(out, at, 0.25 * bark * _swelling(t, 0.02, t[-1]))
            at += rng.uniform(0.3, 0.6)
        at += rng.uniform(0.8, 3)
    return out


def _coughing(rng: Rng, seconds: float) -> Floats:
    """Coughs: a burst, then voiced breath."""
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    at = 0.3
    while at < seconds - 0.3:
        for _ in range(rng.integers(1, 4)):
            t = _clock(rng.uniform(0.2, 0.4))
            burst = _band(rng, len(t), ((500, 300), (1500, 600), (3000, 1500)))
            folds = _voiced(rng.uniform(110, 220) * (1 - 0.4 * t), (600, 1400, 2500))
            _add(
                out, at, 0.3 * (burst * np.exp(-t / 0.06) + 0.4 * folds * np.exp(-(((t - 0.15) / 0.08) ** 2)))
            )
            at += rng.uniform(0.3, 0.6)
        at += rng.uniform(1, 4)
    return out


def _laughing(rng: Rng, seconds: float) -> Floats:
    """Laughter: quick, breathy vowels, falling in pitch."""
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    at = 0.2
    while at < seconds - 0.2:
        height, vowel = rng.uniform(160, 380), _VOWELS[rng.integers(2)]
        for count in range(rng.integers(3, 9)):
            t = _clock(0.1)
            ha = _voiced(height * 0.96**count * (1 - 0.8 * t), vowel)
            _add(out, at, 0.1 * _band(rng, 1200, ((1200, 600), (2500, 900))))
            _add(out, at + 0.06, 0.3 * 0.9**count * ha * _swelling(t, 0.02, 0.1))
            at += rng.uniform(0.18, 0.24)
        at += rng.uniform(0.5, 3)
    return out


def _paper(rng: Rng, seconds: float) -> Floats:
    """Paper being turned and crumpled."""
    count = round(seconds * SAMPLE_RATE)
    out = 0.0005 * rng.standard_normal(count)
    for at in np.arange(0.3, seconds - 0.2, 1.3):
        t = _clock(rng.uniform(0.2, 0.8))
        crackle = rng.standard_normal(len(t)) * (rng.random(len(t)) < 0.08)
        _add(out, at, 0.2 * (crackle + 0.2 * _band(rng, len(t), ((4000, 2500),))) * _swelling(t, 0.05, t[-1]))
    return out


def _till(rng: Rng, seconds: float) -> Floats:
    """A cash register: keys, the bell, the drawer, coins."""
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    for at in np.arange(0.1, seconds - 0.5, 2.5):
        bell = _clock(1.0)
        tones = sum(np.sin(2 * np.pi * f * bell) for f in (2093, 4310, 5600))
        _add(out, at + 0.3, 0.1 * tones * np.exp(-bell / 0.25))
        for coin in rng.uniform(0.8, 2.2, 5):
            t = _clock(0.15)
            _add(out, at + coin, 0.1 * np.sin(2 * np.pi * rng.uniform(4000, 7000) * t) * np.exp(-t / 0.03))
        drawer = _clock(0.2)
        _add(out, at + 0.5, 0.2 * _band(rng, len(drawer), ((200, 150), (1200, 800))) * np.exp(-drawer / 0.05))
    return out


def _siren(rng: Rng, seconds: float) -> Floats:
    """A siren, wailing, then in two tones."""
    t = _clock(seconds)
    wail = 900 + 500 * np.sin(2 * np.pi * 0.4 * t)
    pitch = np.where(t < seconds / 2, wail, np.where(t % 1.4 < 0.7, 435.0, 580.0))
    return np.asarray(0.15 * _tone(pitch, np.array([1, 0.4, 0.3, 0.1])) + 0.001 * rng.standard_normal(len(t)))


def _modem(rng: Rng, seconds: float) -> Floats:
    """A modem or fax: answer tone, two-tone data, scrambled data."""
    t = _clock(seconds)
    bits = rng.integers(0, 2, len(t) // 53 + 1).repeat(53)[: len(t)]
    keyed = np.sin(2 * np.pi * np.cumsum(np.where(bits, 1270.0, 1070.0)) / SAMPLE_RATE)
    scrambled = _band(rng, len(t), ((1800, 900),))
    answer = np.sin(2 * np.pi * 2100 * t)
    part = t % 12
    return np.asarray(0.12 * np.select([part < 3, part < 7], [answer, keyed], 2 * scrambled))


def _birds(rng: Rng, seconds: float) -> Floats:
    """Birds: chirps and trills."""
    out = 0.002 * _band(rng, round(seconds * SAMPLE_RATE), ((2000, 2500),))
    at = 0.1
    while at < seconds - 0.2:
        base, bend = rng.uniform(2000, 4500), rng.uniform(-1500, 1500)
        for _ in range(rng.integers(1, 10)):
            t = _clock(rng.uniform(0.04, 0.15))
            chirp = _tone(base + bend * t / t[-1], np.array([1, 0.2])) * _swelling(t, 0.01, t[-1])
            _add(out, at, rng.uniform(0.03, 0.15) * chirp)
            at += len(t) / SAMPLE_RATE + rng.uniform(0.02, 0.1)
        at += rng.uniform(0.2, 1.5)
    return out


EFFECTS: dict[str, Callable[[Rng, float], Floats]] = {
    "humming": _humming,
    "violin": _violin,
    "flute": _flute,
    "rain": _rain,
    "traffic": _traffic,
    "fan": _fan,
    "barking": _barking,
    "coughing": _coughing,
    "laughing": _laughing,
    "paper": _paper,
    "cash register": _till,
    "siren": _siren,
    "modem": _modem,
    "birds": _birds,
}
