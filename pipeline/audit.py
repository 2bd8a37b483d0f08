"""Detects speech independently of the numbers used for cutting.

The energy rule is relative to the recording: noise floor and loud parts are percentiles of its own frame
levels, collected in a histogram, so a recording at -45 dBFS is judged like one at -20. Silero is the
second witness.
"""

from __future__ import annotations

import math

import numpy as np

from asr_batch.pipeline.audio.frames import Float32, Mask, centred_sum, smoothed

LEVEL_FLOOR = -120
"""dBFS of digital silence as reported by :func:`asr_batch.pipeline.audio.frames.levels`."""

HINT = 0.15
"""Speech probability from which Silero does not rule speech out; together with a sufficient level it
counts as speech.
"""

_RANGE = 15.0  # dB between floor and loud parts from which the energy rule is meaningful
_DEEPEST = 50.0  # dB below the loud parts: a lower floor (digital silence) says nothing about speech
_SHARE = 0.45  # fraction of the way from floor to loud parts
_NEAR = 20  # frames around such a probability in which level may count as speech


class LevelHistogram:
    """Counts of frame levels in whole dB; its size does not depend on the duration."""

    def __init__(self) -> None:
        self._counts = np.zeros(-LEVEL_FLOOR + 41, np.int64)

    def add(self, level: Float32) -> None:
        """Count the frames of one stretch."""
        places = np.clip(np.round(level) - LEVEL_FLOOR, 0, len(self._counts) - 1).astype(np.int64)
        self._counts += np.bincount(places, minlength=len(self._counts))

    def percentile(self, share: float) -> float:
        """The level in dBFS below which `share` (0 to 1) of the frames lie."""
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
    """Frames of a window that contain speech, for the ledger.

    `heard`: Silero is sure; `hinted`: Silero does not rule speech out; `threshold`: the recording's level
    from which a frame may be speech. A hint counts if the level agrees.
    """
    return heard | ((smoothed(level, 5) >= threshold) & near(hinted, _NEAR))


def near(mask: Mask, reach: int) -> Mask:
    """Frames at most `reach` frames away from a True one."""
    if not mask.any():
        return mask
    return centred_sum(mask.astype(np.int32), 2 * reach + 1) > 0
