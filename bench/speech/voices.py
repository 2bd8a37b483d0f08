"""Voices without words: singing, laughter, coughs, a dog, a crowd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE
from bench.speech.synthesis import Floats, Rng, add, band, clock, melody, swelling, voiced

Call = Callable[[Floats, float, int], None]
"""Adds call number n of a bout at a second."""

_VOWELS = ((700, 1200, 2600), (400, 2000, 2700), (320, 800, 2400), (500, 900, 2500))  # Hz: a, e, u, o


def humming(rng: Rng, seconds: float) -> Floats:
    """A melody sung on vowels, with vibrato: no words."""

    def note(rng: Rng, t: Floats, height: float) -> Floats:
        pitch = 196 * height * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * t))
        return voiced(pitch, _VOWELS[rng.integers(len(_VOWELS))]) * swelling(t, 0.06, t[-1])

    return melody(rng, seconds, note) + 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))


def _bouts(
    rng: Rng,
    seconds: float,
    bout: Callable[[], Call],
    *,
    calls: tuple[int, int],
    apart: tuple[float, float],
    rest: tuple[float, float],
    margins: tuple[float, float],
) -> Floats:
    """Bouts of `calls` (from, below), which begin `apart` seconds after each other, with a `rest` after each.

    `bout` prepares one; `margins`: seconds before the first, and at the end, in which none begins.
    """
    out = 0.0005 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    at = margins[0]
    while at < seconds - margins[1]:
        call = bout()
        for count in range(rng.integers(*calls)):
            call(out, at, count)
            at += rng.uniform(*apart)
        at += rng.uniform(*rest)
    return out


def barking(rng: Rng, seconds: float) -> Floats:
    """A dog: one to four barks, then a pause."""

    def bark(out: Floats, at: float, _: int) -> None:
        t = clock(rng.uniform(0.12, 0.25))
        fall = 1 + 0.5 * np.exp(-(((t - 0.04) / 0.04) ** 2))
        sound = voiced(rng.uniform(350, 550) * fall, (800, 1600, 2800)) + 0.4 * rng.standard_normal(len(t))
        add(out, at, 0.25 * sound * swelling(t, 0.02, t[-1]))

    return _bouts(
        rng, seconds, lambda: bark, calls=(1, 5), apart=(0.3, 0.6), rest=(0.8, 3), margins=(0.2, 0.3)
    )


def coughing(rng: Rng, seconds: float) -> Floats:
    """Coughs: a burst, then voiced breath."""

    def cough(out: Floats, at: float, _: int) -> None:
        t = clock(rng.uniform(0.2, 0.4))
        burst = band(rng, len(t), ((500, 300), (1500, 600), (3000, 1500)))
        folds = voiced(rng.uniform(110, 220) * (1 - 0.4 * t), (600, 1400, 2500))
        breath = 0.4 * folds * np.exp(-(((t - 0.15) / 0.08) ** 2))
        add(out, at, 0.3 * (burst * np.exp(-t / 0.06) + breath))

    return _bouts(
        rng, seconds, lambda: cough, calls=(1, 4), apart=(0.3, 0.6), rest=(1, 4), margins=(0.3, 0.3)
    )


def laughing(rng: Rng, seconds: float) -> Floats:
    """Laughter: bouts of calls, 4 to 5 per second, each a breath that becomes a central vowel.

    Pitches and rates are those of Bachorowski, Smoski and Owren 2001. The breath has the formants of the
    vowel and swells slowly.
    """

    def bout() -> Call:
        height = rng.choice((280, 420)) * rng.uniform(0.7, 1.3)
        formants = tuple(rng.uniform(0.9, 1.15) * np.array((560, 1450, 2550)))
        sounding = rng.random() < 0.7

        def laugh(out: Floats, at: float, count: int) -> None:
            t, loud = clock(0.19), 0.9**count
            breath = band(rng, len(t), tuple((f, 0.2 * f) for f in formants))
            call = (0.08 if sounding else 0.25) * breath * np.exp(-(((t - 0.07) / 0.04) ** 2))
            if sounding:
                pitch = height * 0.97**count * (1 + 0.15 * np.exp(-(((t - 0.12) / 0.05) ** 2)))
                call += 0.3 * voiced(pitch, formants) * np.exp(-(((t - 0.13) / 0.035) ** 2))
            add(out, at, loud * call)

        return laugh

    return _bouts(rng, seconds, bout, calls=(3, 9), apart=(0.2, 0.25), rest=(0.5, 3), margins=(0.2, 0.2))


def babbling(rng: Rng, seconds: float) -> Floats:
    """Quick syllables falling in pitch, each with an abrupt breath: between laughter and "pup, pup, pup"."""

    def bout() -> Call:
        height, vowel = rng.uniform(160, 380), _VOWELS[rng.integers(2)]

        def babble(out: Floats, at: float, count: int) -> None:
            t = clock(0.1)
            ha = voiced(height * 0.96**count * (1 - 0.8 * t), vowel)
            add(out, at, 0.1 * band(rng, 1200, ((1200, 600), (2500, 900))))
            add(out, at + 0.06, 0.3 * 0.9**count * ha * swelling(t, 0.02, 0.1))

        return babble

    return _bouts(rng, seconds, bout, calls=(3, 9), apart=(0.18, 0.24), rest=(0.5, 3), margins=(0.2, 0.2))


def crowd(rng: Rng, seconds: float) -> Floats:
    """Many people in a hall: thirty voices that sing syllables at once, none of them to be understood."""
    out = 0.02 * band(rng, round(seconds * SAMPLE_RATE), ((500, 400), (1500, 700)))
    syllables = []
    for _ in range(60):
        t = clock(rng.uniform(0.1, 0.25))
        pitch = rng.uniform(90, 260) * (1 - 0.2 * t)
        syllables.append(voiced(pitch, _VOWELS[rng.integers(len(_VOWELS))]) * swelling(t, 0.03, t[-1]))
    for at in rng.uniform(0, seconds - 0.3, round(130 * seconds)):
        add(out, at, rng.uniform(0.005, 0.03) * syllables[rng.integers(len(syllables))])
    return out
