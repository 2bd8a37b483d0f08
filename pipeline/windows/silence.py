"""Decides which windows to skip: proposed by Silero, confirmed by an independent rule.

A check that shares its threshold with the detector confirms whatever the detector misses.
"""

from __future__ import annotations

import numpy as np

from asr_batch.pipeline.audio.frames import Float32, percentile, smoothed

_INAUDIBLE = -62.0  # dBFS: below this a window has nothing that a 16-bit microphone records as speech
_STEADY = 1.5  # dB around its median within which a sound is steady: noise or a tone, never speech
_STEADY_SHARE = 0.97
_SURE = 0.5  # Silero


def is_silence(level: Float32, speech: Float32) -> bool:
    """Whether a window may be skipped: Silero detects no speech, and the independent rule agrees.

    The rule: every frame is inaudible or part of one steady sound.
    """
    if len(speech) and float(speech.max()) >= _SURE:
        return False
    even = smoothed(level, 5)
    audible = even >= _INAUDIBLE
    if not audible.any():
        return True
    steady = np.abs(even[audible] - percentile(even[audible], 50)) <= _STEADY
    return bool(np.count_nonzero(steady) + np.count_nonzero(~audible) >= _STEADY_SHARE * len(even))
