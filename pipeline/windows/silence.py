"""Which stretches nobody needs to decode: a proposal by Silero, approved by a floor that is not its own.

A guard that shares its threshold with the detector that it guards approves whatever that one overlooks.
"""

from __future__ import annotations

import numpy as np

from asr_batch.pipeline.audio.frames import Float32, smoothed

_INAUDIBLE = -62.0  # dBFS: below this a window holds nothing that a 16-bit microphone picks up as speech
_STEADY = 1.5  # dB around its median within which a sound is steady: noise or a tone, never speech
_STEADY_SHARE = 0.97
_SURE = 0.5  # Silero


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
