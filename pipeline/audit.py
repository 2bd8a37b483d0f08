"""Where somebody speaks, told without the numbers that the cutting used.

The energy rule is relative to the recording: floor and loud parts are percentiles of its own frame levels,
gathered in a histogram, so a recording at -45 dBFS is judged as one at -20. Silero stands next to it.
"""

from __future__ import annotations

import math

import numpy as np

from asr_batch.pipeline.audio.frames import Float32, Mask, centred_sum, smoothed

LEVEL_FLOOR = -120
"""dBFS of digital silence as :func:`asr_batch.pipeline.audio.frames.levels` tells it."""

HINT = 0.15
"""Silero's probability that is no denial: with a level that stands out, the audit counts it as speech."""

_RANGE = 15.0  # dB between floor and loud parts from which the energy rule can tell anything
_DEEPEST = 50.0  # dB below the loud parts: a floor under this (digital silence) says nothing about speech
_SHARE = 0.45  # of the way from floor to loud parts
_NEAR = 20  # frames around a hint of Silero in which level may count as speech


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


def audible_speech(level: Float32, heard: Mask, hinted: Mask, threshold: float) -> Mask:
    """Frames of a window that hold speech, for the ledger.

    `heard`: Silero is sure; `hinted`: it does not rule speech out; `threshold`: the recording's level from
    which a frame may be speech. A hint counts where the level agrees.
    """
    return heard | ((smoothed(level, 5) >= threshold) & near(hinted, _NEAR))


def near(mask: Mask, reach: int) -> Mask:
    """Frames at most `reach` frames away from a True one."""
    if not mask.any():
        return mask
    return centred_sum(mask.astype(np.int32), 2 * reach + 1) > 0
