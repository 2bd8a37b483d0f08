"""More sounds without speech: weather, traffic, animals, instruments and machines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE
from bench.speech import voices
from bench.speech.synthesis import Floats, Rng, add, band, clock, melody, swelling, tone


def _violin(rng: Rng, seconds: float) -> Floats:
    """A bowed melody with vibrato."""

    def note(_: Rng, t: Floats, height: float) -> Floats:
        pitch = 392 * height * (1 + 0.008 * np.sin(2 * np.pi * 6 * t))
        return tone(pitch, 1 / np.arange(1, 16)) * swelling(t, 0.08, t[-1])

    return melody(rng, seconds, note)


def _flute(rng: Rng, seconds: float) -> Floats:
    """A flute or a whistler: nearly pure tones with breath."""

    def note(rng: Rng, t: Floats, height: float) -> Floats:
        pitch = 784 * height * (1 + 0.006 * np.sin(2 * np.pi * 5 * t))
        whistle = tone(pitch, np.array([1, 0.15, 0.05]))
        return (whistle + 0.05 * rng.standard_normal(len(t))) * swelling(t, 0.05, t[-1])

    return melody(rng, seconds, note)


def _rain(rng: Rng, seconds: float) -> Floats:
    """Steady rain with drops close by."""
    out = 0.05 * band(rng, round(seconds * SAMPLE_RATE), ((3000, 2500), (6000, 2000)))
    for at in rng.uniform(0, seconds, round(25 * seconds)):
        t = clock(0.02)
        add(
            out,
            at,
            rng.uniform(0.02, 0.15) * np.sin(2 * np.pi * rng.uniform(1500, 5000) * t) * np.exp(-t / 0.003),
        )
    return out


def _traffic(rng: Rng, seconds: float) -> Floats:
    """Cars that pass, one every few seconds, and sometimes a horn."""
    t = clock(seconds)
    out = 0.02 * band(rng, len(t), ((80, 80), (400, 300)))
    road = band(rng, len(t), ((150, 120), (700, 500), (1500, 700)))
    for at in rng.uniform(0, seconds, max(1, round(seconds / 4))):
        out += 0.15 * road * np.exp(-(((t - at) / rng.uniform(0.6, 1.5)) ** 2))
    for at in rng.uniform(0, seconds, round(seconds / 15)):
        horn = clock(rng.uniform(0.2, 0.8))
        add(out, at, 0.1 * (np.sin(2 * np.pi * 420 * horn) + np.sin(2 * np.pi * 530 * horn)))
    return out


def _fan(rng: Rng, seconds: float) -> Floats:
    """A fan or vacuum cleaner: blades and moving air."""
    t = clock(seconds)
    air = band(rng, len(t), ((500, 600), (2000, 1500)))
    blades = tone(np.full(len(t), 117.0), 1 / np.arange(1, 9) ** 1.5)
    return np.asarray(0.08 * air * (1 + 0.3 * np.sin(2 * np.pi * 11 * t)) + 0.04 * blades)


def _paper(rng: Rng, seconds: float) -> Floats:
    """Paper being turned and crumpled."""
    count = round(seconds * SAMPLE_RATE)
    out = 0.0005 * rng.standard_normal(count)
    for at in np.arange(0.3, seconds - 0.2, 1.3):
        t = clock(rng.uniform(0.2, 0.8))
        crackle = rng.standard_normal(len(t)) * (rng.random(len(t)) < 0.08)
        add(out, at, 0.2 * (crackle + 0.2 * band(rng, len(t), ((4000, 2500),))) * swelling(t, 0.05, t[-1]))
    return out


def _till(rng: Rng, seconds: float) -> Floats:
    """A cash register: keys, the bell, the drawer, coins."""
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    for at in np.arange(0.1, seconds - 0.5, 2.5):
        bell = clock(1.0)
        tones = sum(np.sin(2 * np.pi * f * bell) for f in (2093, 4310, 5600))
        add(out, at + 0.3, 0.1 * tones * np.exp(-bell / 0.25))
        for coin in rng.uniform(0.8, 2.2, 5):
            t = clock(0.15)
            add(out, at + coin, 0.1 * np.sin(2 * np.pi * rng.uniform(4000, 7000) * t) * np.exp(-t / 0.03))
        drawer = clock(0.2)
        add(out, at + 0.5, 0.2 * band(rng, len(drawer), ((200, 150), (1200, 800))) * np.exp(-drawer / 0.05))
    return out


def _siren(rng: Rng, seconds: float) -> Floats:
    """A siren, wailing, then in two tones."""
    t = clock(seconds)
    wail = 900 + 500 * np.sin(2 * np.pi * 0.4 * t)
    pitch = np.where(t < seconds / 2, wail, np.where(t % 1.4 < 0.7, 435.0, 580.0))
    return np.asarray(0.15 * tone(pitch, np.array([1, 0.4, 0.3, 0.1])) + 0.001 * rng.standard_normal(len(t)))


def _modem(rng: Rng, seconds: float) -> Floats:
    """A modem or fax: answer tone, two-tone data, scrambled data."""
    t = clock(seconds)
    bits = rng.integers(0, 2, len(t) // 53 + 1).repeat(53)[: len(t)]
    keyed = np.sin(2 * np.pi * np.cumsum(np.where(bits, 1270.0, 1070.0)) / SAMPLE_RATE)
    scrambled = band(rng, len(t), ((1800, 900),))
    answer = np.sin(2 * np.pi * 2100 * t)
    part = t % 12
    return np.asarray(0.12 * np.select([part < 3, part < 7], [answer, keyed], 2 * scrambled))


def _birds(rng: Rng, seconds: float) -> Floats:
    """Birds: chirps and trills."""
    out = 0.002 * band(rng, round(seconds * SAMPLE_RATE), ((2000, 2500),))
    at = 0.1
    while at < seconds - 0.2:
        base, bend = rng.uniform(2000, 4500), rng.uniform(-1500, 1500)
        for _ in range(rng.integers(1, 10)):
            t = clock(rng.uniform(0.04, 0.15))
            chirp = tone(base + bend * t / t[-1], np.array([1, 0.2])) * swelling(t, 0.01, t[-1])
            add(out, at, rng.uniform(0.03, 0.15) * chirp)
            at += len(t) / SAMPLE_RATE + rng.uniform(0.02, 0.1)
        at += rng.uniform(0.2, 1.5)
    return out


def _engine(rng: Rng, seconds: float) -> Floats:
    """An engine that accelerates and idles: harmonics that glide like those of a voice."""
    t = clock(seconds)
    speed = 70 + 60 * np.abs(np.sin(2 * np.pi * t / 7)) + 3 * np.sin(2 * np.pi * 0.9 * t)
    hum = tone(speed, 1 / np.arange(1, 25) ** 0.7)
    return np.asarray(0.15 * hum / np.abs(hum).max() + 0.02 * band(rng, len(t), ((700, 500),)))


def _jingle(rng: Rng, seconds: float) -> Floats:
    """A jingle: a melody over chords and a beat, a second of silence between two."""

    def note(_: Rng, t: Floats, height: float) -> Floats:
        return tone(np.full(len(t), 330 * height), 1 / np.arange(1, 9)) * np.exp(-t / 0.4)

    out, t = melody(rng, seconds, note), clock(seconds)
    for at in np.arange(0, seconds, 0.3):
        beat = clock(0.1)
        add(out, at, 0.3 * rng.standard_normal(len(beat)) * np.exp(-beat / 0.02))
    for root, place in ((196, 0), (262, 1), (294, 2), (196, 3)):
        chord = sum(np.sin(2 * np.pi * root * step * t) for step in (1, 1.26, 1.5))
        out += 0.05 * chord * ((t // 1.2) % 4 == place)
    return np.asarray(0.6 * out * (t % 7 < 6))


def _clipped(rng: Rng, seconds: float) -> Floats:
    """A microphone in the wind, far too loud, clipped."""
    t = clock(seconds)
    wind = band(rng, len(t), ((60, 80), (250, 200), (1200, 600)))
    return np.asarray(np.clip(9 * wind * (0.4 + np.abs(np.sin(2 * np.pi * t / 3.1))), -0.9, 0.9))


def _comfort(rng: Rng, seconds: float) -> Floats:
    """Comfort noise of a telephone codec: noise whose colour and level change every 160 ms, and drop out."""
    out = np.zeros(round(seconds * SAMPLE_RATE))
    for at in np.arange(0, seconds, 0.16):
        if rng.random() > 0.15:
            peaks = ((rng.uniform(200, 600), 300.0), (rng.uniform(1000, 3000), 500.0))
            add(out, at, 10 ** (rng.uniform(-52, -38) / 20) * band(rng, round(0.16 * SAMPLE_RATE), peaks))
    return out


def _beeps(rng: Rng, seconds: float) -> Floats:
    """Beeps of an answering machine or a monitor, and nothing in between."""
    out = np.zeros(round(seconds * SAMPLE_RATE))
    for at in np.arange(0.2, seconds, rng.uniform(0.9, 2.2)):
        t = clock(rng.choice((0.1, 0.4)))
        add(
            out,
            at,
            0.3 * np.sin(2 * np.pi * rng.choice((440, 850, 1000, 1400)) * t) * swelling(t, 0.005, t[-1]),
        )
    return out


EFFECTS: dict[str, Callable[[Rng, float], Floats]] = {
    "humming": voices.humming,
    "violin": _violin,
    "flute": _flute,
    "rain": _rain,
    "traffic": _traffic,
    "fan": _fan,
    "barking": voices.barking,
    "coughing": voices.coughing,
    "laughing": voices.laughing,
    "babbling": voices.babbling,
    "paper": _paper,
    "cash register": _till,
    "siren": _siren,
    "modem": _modem,
    "birds": _birds,
    "crowd": voices.crowd,
    "engine": _engine,
    "jingle": _jingle,
    "clipped wind": _clipped,
    "comfort noise": _comfort,
    "beeps": _beeps,
}
"""More sounds; see :data:`bench.speech.noises.SOUNDS`."""
