"""Mixes several channels to one without losing speech in any of them.

Each block is mixed separately, so a span that begins anywhere is mixed as in the whole file. Common
layouts have weights: the centre carries speech and has weight 1, left and right 0.5 each, the LFE channel
0, the rest less. If the mix is much weaker than a channel (opposite phase, or one of many microphones),
that channel is used instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.decoders.decoder import Block

_SIDE, _CENTRE, _REAR, _EFFECTS = 0.5, 1.0, 0.35, 0.0
_WEIGHTS = {"L": _SIDE, "R": _SIDE, "C": _CENTRE, "E": _EFFECTS, "S": _REAR}
_LAYOUTS = {
    "2.1": "LRE",
    "3.0": "LRC",
    "3.0(back)": "LRS",
    "3.1": "LRCE",
    "4.0": "LRCS",
    "quad": "LRSS",
    "quad(side)": "LRSS",
    "4.1": "LRCES",
    "5.0": "LRCSS",
    "5.0(side)": "LRCSS",
    "5.1": "LRCESS",
    "5.1(side)": "LRCESS",
    "6.0": "LRCSSS",
    "6.1": "LRCESSS",
    "6.1(back)": "LRCESSS",
    "7.0": "LRCSSSS",
    "7.1": "LRCESSSS",
    "7.1(wide)": "LRCESSLR",
}
_WEAK = 0.1  # power of the mix relative to the louder channel: -10 dB
_HEARD = 1e-7  # power of an audible channel: -70 dBFS
_AS_LOUD = 0.5  # power: the first of channels with similar level is used
_FEW = 8  # channels up to which products of channels are cheaper than another pass over the samples
_FADE = 0.01  # seconds from one mix to the next
_LOUDEST = 4.0  # full scale is 1; larger values in a float file are no sound, and squares would overflow

Float32 = NDArray[np.float32]


class Mixer:
    """Mixes blocks to mono. `channel` None mixes; a channel missing from a later block is silent there.

    `replaced` counts samples that were NaN or infinite and became 0, `alone` the seconds for which one
    channel replaced the mix.
    """

    def __init__(self, channel: int | None) -> None:
        self.replaced = 0
        self.alone = 0.0
        self._channel = channel
        self._weights: Float32 | None = None

    def mono(self, block: Block) -> Samples:
        """The block's samples [n] as mono."""
        samples = block.samples
        count = samples.shape[1]
        if self._channel is not None or count == 1:
            index = self._channel or 0
            mono = samples[:, index] if index < count else np.zeros(len(samples), np.float32)
            if not np.isfinite(mono).all():
                mono = self._numbers(mono[:, None])[:, 0]
        else:
            if not np.isfinite(samples).all():
                samples = self._numbers(samples)
            mono = self._mixed(samples, block)
        return np.ascontiguousarray(np.clip(mono, -_LOUDEST, _LOUDEST), dtype=np.float32)

    def _numbers(self, samples: Float32) -> Float32:
        good = np.isfinite(samples)
        self.replaced += int(np.count_nonzero(~good.all(axis=1)))
        return np.where(good, samples, np.float32(0))

    def _mixed(self, samples: Float32, block: Block) -> Float32:
        weights = usual_weights(samples.shape[1], block.layout)
        mono = _weighted(samples, weights)
        louder = _drowned(samples, mono, weights)
        if louder is not None:
            weights = np.zeros_like(weights)
            weights[louder] = 1.0
            mono = samples[:, louder].copy()
            self.alone += len(mono) / block.rate
        before, self._weights = self._weights, weights
        if before is not None and before.shape == weights.shape and not np.array_equal(before, weights):
            count = min(len(mono), round(_FADE * block.rate))
            share = np.linspace(0, 1, count, dtype=np.float32)
            mono[:count] = share * mono[:count] + (1 - share) * _weighted(samples[:count], before)
        return mono


def usual_weights(count: int, layout: str) -> Float32:
    """The weight of each channel in a mix."""
    known = _LAYOUTS.get(layout, "")
    if len(known) == count:
        return np.array([_WEIGHTS[role] for role in known], np.float32)
    return np.full(count, 1 / count, np.float32)


def _weighted(samples: Float32, weights: Float32) -> Float32:
    """The sum of weighted channels, in order: BLAS has other orders, hence last bits, on other processors."""
    mono: Float32 = samples[:, 0] * weights[0]
    for index in range(1, len(weights)):
        mono += samples[:, index] * weights[index]
    return mono


def _drowned(samples: Float32, mono: Float32, weights: Float32) -> int | None:
    """The channel that replaces a much weaker mix, or None."""
    powers, mixed = _powers(samples, mono, weights)
    heard = np.where(weights > 0, powers, 0.0)
    if heard.max() < _HEARD:
        heard = powers
    loudest = float(heard.max())
    if loudest < _HEARD or mixed >= _WEAK * loudest:
        return None
    return int(np.argmax(heard >= _AS_LOUD * loudest))


def _powers(samples: Float32, mono: Float32, weights: Float32) -> tuple[NDArray[np.float32], float]:
    """Mean power of each channel and of their mix, without offsets."""
    count = samples.shape[1]
    means = np.full(len(samples), 1 / len(samples), np.float32) @ samples
    # Squares of an offset would lose precision, those of invalid samples overflow.
    samples = np.clip(samples - means, -_LOUDEST, _LOUDEST)
    if count > _FEW:
        powers: NDArray[np.float32] = np.einsum("ij,ij->j", samples, samples) / len(samples)
        rest = mono - mono.mean()
        return powers, float(rest @ rest) / len(rest)
    products = samples.T @ samples / len(samples)
    return np.diagonal(products), float(weights @ products @ weights)
