"""Counts syllables by their loud middles, without knowing what is said.

A syllable has a vowel that is louder than the consonants around it: its nucleus. Counting peaks of the level
with dips on both sides is a common measure of how fast somebody speaks (Mermelstein 1975, "Automatic
segmentation of speech into syllabic units"; de Jong and Wempe 2009, "Praat script to detect syllable nuclei
and measure speech rate automatically").
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from asr_batch.pipeline.audio.frames import Float32, Mask, percentile, smoothed

_SMOOTH = 7  # frames
_APART = 7  # frames on both sides in which a nucleus is the loudest
_NEAR, _DIP = 12, 2.0  # frames on both sides with a dip of as many dB
_FAINTEST = 25.0  # dB below the loud parts
_NOTHING = -200.0  # dB


def nuclei(level: Float32, speech: Mask) -> Mask:
    """The frames that are nuclei of syllables; `level` in dBFS, the loud parts are `speech`."""
    if not speech.any():
        return np.zeros(len(level), np.bool_)
    smooth = smoothed(level, _SMOOTH)
    earlier, later = _neighbours(smooth, _APART, 0)[:-1], _neighbours(smooth, 0, _APART)
    loudest = (smooth > earlier.max(axis=0)) & (smooth >= later.max(axis=0))
    before, after = _neighbours(smooth, _NEAR, 0).min(axis=0), _neighbours(smooth, 0, _NEAR).min(axis=0)
    risen = smooth - np.maximum(before, after) >= _DIP
    loud = smooth > percentile(level[speech], 90) - _FAINTEST
    found: Mask = loudest & risen & loud
    return found


def _neighbours(values: Float32, before: int, after: int) -> Float32:
    """Each value between its neighbours, [before + 1 + after, values]; there is silence around all."""
    padded = np.pad(values, (before, after), constant_values=_NOTHING)
    return sliding_window_view(padded, before + 1 + after).T
