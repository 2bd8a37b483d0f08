"""A tone that rises all the time: what is heard of it tells which second of the recording it comes from."""

from __future__ import annotations

import numpy as np

RATE = 16_000
LOWEST, RISE = 300.0, 140.0
"""Hz at second 0, and by how much it rises in a second."""

STEP = 0.05
"""Seconds of the grid on which `lost` looks."""

_HOP, _LENGTH, _BINS = 800, 1600, 4096
_LOUD = 0.004  # power: a twentieth of the tone's
_CLEAR = 0.8  # share of the power that the tone has
_NEAR = 10  # bins to either side that belong to it
_REACH = 0.1  # seconds that a look at a stretch may miss at its borders
_RUN = 6  # looks in a row that make a stretch of another time


def sweep(seconds: float) -> np.ndarray:
    """The tone at -11 dBFS over faint noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).normal(0, 1e-3, len(time))
    return (0.4 * np.sin(2 * np.pi * (LOWEST * time + RISE / 2 * time**2)) + noise).astype(np.float32)


def looks(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every 0.05 s: the second, the second that the tone tells (NaN without a tone), whether it is loud."""
    count = max(0, (len(samples) - _LENGTH) // _HOP + 1)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _LENGTH)[::_HOP] if count else np.zeros((0, 1))
    if not count:
        return np.zeros(0), np.zeros(0), np.zeros(0, bool)
    power = np.square(frames).mean(axis=1)
    spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(_LENGTH), _BINS)))
    peak = spectrum[:, 1:-1].argmax(axis=1) + 1
    places = np.clip(peak[:, None] + np.arange(-_NEAR, _NEAR + 1), 0, spectrum.shape[1] - 1)
    near = np.take_along_axis(spectrum, places, axis=1).sum(axis=1)
    loud = power > _LOUD
    clear = loud & (near > _CLEAR * np.maximum(spectrum.sum(axis=1), 1e-9))
    told = (peak * RATE / _BINS - LOWEST) / RISE
    return (np.arange(count) * _HOP + _LENGTH / 2) / RATE, np.where(clear, told, np.nan), loud


def lost(samples: np.ndarray, seconds: float) -> tuple[float, float]:
    """Seconds of the sweep that are nowhere within a second of their place, and seconds that are elsewhere.

    A stretch that is loud without a tone is spoilt, not lost: the decoder made what it could of it.
    """
    time, told, loud = looks(samples)
    grid = np.arange(2 * _REACH, seconds - 2 * _REACH, STEP)
    held = np.concatenate((told[np.abs(told - time) <= 1.0], time[loud & np.isnan(told)], [-9.0]))
    gone = np.abs(grid[:, None] - held).min(axis=1) > _REACH
    return STEP * float(gone.sum()), STEP * _moved(time, told, seconds)


def _moved(time: np.ndarray, told: np.ndarray, seconds: float) -> int:
    """Looks in stretches that are off by more than a second."""
    off = (np.abs(told - time) > 1.0) & (told < seconds + 0.5)
    shift, total, run = np.where(off, told - time, np.nan), 0, 0
    for same in np.append(np.abs(np.diff(shift)) < 0.1, False):
        run = run + 1 if same else 0
        total += _RUN if run == _RUN else run > _RUN
    return int(total)
