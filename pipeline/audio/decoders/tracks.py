"""Chooses one of several tracks: the default one, unless it is silent and another is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asr_batch.pipeline.audio.decoders.decoder import Decoder

_SILENT, _AUDIBLE = 1e-6, 1e-5  # mean power of 0.1 s: -60 and -50 dBFS
_PART = 10  # parts of a second


def chosen_track(open_track: Callable[[int], Decoder], default: int, count: int) -> int:
    """The track to use: the first one with audible sound, the default one first."""
    if _loudest(open_track(default), _SILENT) >= _SILENT:
        return default
    for index in range(count):
        if index != default and _loudest(open_track(index), _AUDIBLE) >= _AUDIBLE:
            return index
    return default


def _loudest(decoder: Decoder, enough: float) -> float:
    """Power of the loudest tenth of a second, or of the first that reaches `enough`."""
    loudest = 0.0
    try:
        for block in decoder.blocks(0.0):
            step = max(1, block.rate // _PART)
            for first in range(0, len(block.samples), step):
                part = np.nan_to_num(block.samples[first : first + step])
                loudest = max(loudest, float(np.square(part).mean(axis=0).max()))
            if loudest >= enough:
                break
    finally:
        decoder.close()
    return loudest
