"""Windows with far less text than usual in their recording, for engines without word positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.text.words import letters
from asr_batch.pipeline.thresholds import ENOUGH_SPEECH, TELLING_WINDOWS, THIN


def thin_windows(windows: Sequence[DecodedWindow], threshold: float) -> frozenset[int]:
    """Indices of windows whose text is far too short for their speech, by the rate of the recording.

    `threshold`: the audit's. Windows with word positions are judged by those instead.
    """
    if all(window.outcome is None or window.places for window in windows):
        return frozenset()
    rates = [_rate(window, threshold) for window in windows]
    known = np.array([rate for rate in rates if rate > 0])
    if len(known) < TELLING_WINDOWS:
        return frozenset()
    usual = float(np.median(known))
    spread = 1.5 * float(np.median(np.abs(known - usual)))
    least = min(THIN * usual, usual - 3 * spread)
    return frozenset(
        window.index
        for window, rate in zip(windows, rates, strict=True)
        if rate < least and not window.places
    )


def _rate(window: DecodedWindow, threshold: float) -> float:
    """Letters per second of speech; NaN if there is too little speech."""
    if window.outcome is None or window.outcome.result.error is not None or window.unspoken:
        return math.nan
    seconds = float(np.count_nonzero(window.audible(threshold))) / FRAMES_PER_SECOND
    return letters(window.outcome.result.text) / seconds if seconds >= ENOUGH_SPEECH else math.nan
