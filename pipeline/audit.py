"""Where somebody speaks, told without the numbers that the cutting used.

The energy rule is relative to the recording: floor and loud parts are percentiles of its own frame levels,
gathered in a histogram, so a recording at -45 dBFS is judged as one at -20. Silero stands next to it.
"""

from __future__ import annotations

import math

import numpy as np

from asr_batch.pipeline.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.plan import smoothed

LEVEL_FLOOR = -120
"""dBFS of digital silence as :func:`asr_batch.pipeline.frames.levels` tells it."""

_INAUDIBLE = -62.0  # dBFS: below this a window holds nothing that a 16-bit microphone picks up as speech
_STEADY = 1.5  # dB around its median within which a sound is steady: noise or a tone, never speech
_STEADY_SHARE = 0.97
_SURE = 0.5  # Silero

_RANGE = 15.0  # dB between floor and loud parts from which the energy rule can tell anything
_DEEPEST = 50.0  # dB below the loud parts: a floor under this (digital silence) says nothing about speech
_SHARE = 0.45  # of the way from floor to loud parts
_DIP = 6.0  # dB by which the envelope falls between syllables
_DIPS = 2.5  # a second, in speech; notes of music and rings of telephones have fewer


def is_silence(level: Float32, speech: Float32) -> bool:
    """Whether a window may be skipped: Silero hears nobody, and an independent floor agrees.

    The floor: every frame inaudible or part of one steady sound.
    """
    if len(speech) and float(speech.max()) >= _SURE:
        return False
    even = smoothed(level, 5)
    audible = even >= _INAUDIBLE
    if not audible.any():
        return True
    steady = np.abs(even[audible] - np.median(even[audible])) <= _STEADY
    return bool(np.count_nonzero(steady) + np.count_nonzero(~audible) >= _STEADY_SHARE * len(even))


class LevelHistogram:
    """Counts of frame levels by whole dB; as much memory for a second as for a day."""

    def __init__(self) -> None:
        self._counts = np.zeros(-LEVEL_FLOOR + 41, np.int64)

    def add(self, level: Float32) -> None:
        """Count the frames of one stretch."""
        places = np.clip(np.round(level) - LEVEL_FLOOR, 0, len(self._counts) - 1).astype(np.int64)
        self._counts += np.bincount(places, minlength=len(self._counts))

    def percentile(self, share: float) -> float:
        """The level in dBFS under which `share` (0 to 1) of the frames lie."""
        total = np.cumsum(self._counts)
        return float(np.searchsorted(total, share * total[-1], side="left") + LEVEL_FLOOR)

    def threshold(self) -> float:
        """The level from which a frame may be speech in this recording; infinite if it is too even."""
        if not self._counts.sum():
            return math.inf
        loud = self.percentile(0.97)
        floor = max(self.percentile(0.05), loud - _DEEPEST)
        return floor + _SHARE * (loud - floor) if loud - floor >= _RANGE else math.inf


def audible_speech(level: Float32, heard: Mask, threshold: float) -> Mask:
    """Frames of a window that hold speech, for the ledger.

    `heard` is Silero's word, `threshold` the recording's. Where both find speech the union counts; where
    only the level does, it must also rise and fall as syllables do.
    """
    loud = smoothed(level, 5) >= threshold
    heard_frames, loud_frames = np.count_nonzero(heard), np.count_nonzero(loud)
    if not loud_frames:
        return heard
    if heard_frames >= 0.25 * loud_frames:
        return heard | (loud & near(heard, FRAMES_PER_SECOND // 2))
    if loud_frames >= FRAMES_PER_SECOND and _dips(level, loud) >= _DIPS:
        return heard | loud
    return heard


def near(mask: Mask, reach: int) -> Mask:
    """Frames at most `reach` frames away from a True one."""
    if not mask.any():
        return mask
    return np.convolve(mask.astype(np.int32), np.ones(2 * reach + 1, np.int32), "same")[: len(mask)] > 0


def _dips(level: Float32, loud: Mask) -> float:
    """How often a second the envelope falls and rises by 6 dB inside the loud parts."""
    even = smoothed(level, 3)[near(loud, 5)]
    count, high, low = 0, -math.inf, math.inf
    for value in even.tolist():
        if low < high - _DIP and value > low + _DIP:
            count, high, low = count + 1, value, value
        elif value > high:
            high = low = value
        else:
            low = min(low, value)
    return count / max(len(even) / FRAMES_PER_SECOND, 0.01)


def runs(mask: Mask, join: int = 0) -> list[tuple[int, int]]:
    """[start, end) of each run of True; runs closer than `join` frames count as one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    out: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if out and start - out[-1][1] <= join:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out
