"""Level and speech probability of every 10 ms frame, computed in one pass over the samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from asr_batch.models.silero.network import SileroNetwork
from asr_batch.models.silero.weights import CHUNK

FRAME = SAMPLE_RATE // 100
"""Samples of one frame."""

FRAMES_PER_SECOND = 100
BLOCK = 125 * CHUNK
"""Samples measured at once (4 s): a whole number of frames and of Silero's chunks, so that the values do
not depend on how the file was read.
"""

_SILENCE = 1e-12  # power below which a frame counts as -120 dBFS

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measured:
    """A stretch of samples with the level (dBFS) and the speech probability of each of its frames."""

    samples: Samples
    level: Float32
    speech: Float32


def levels(samples: Samples) -> Float32:
    """Power of each 10 ms frame in dBFS, [ceil(n / 160)]; the last frame may be shorter.

    In float64, rounded once: sums and logarithms in float32 differ between processors, and so would cuts.
    """
    whole, samples = len(samples) // FRAME, samples.astype(np.float64)
    body = samples[: whole * FRAME].reshape(whole, FRAME)
    power = np.einsum("ij,ij->i", body, body) / FRAME
    rest = samples[whole * FRAME :]
    if len(rest):
        power = np.append(power, np.dot(rest, rest) / len(rest))
    out: Float32 = 10 * np.log10(np.maximum(power, _SILENCE)).astype(np.float32)
    return out


class Meter:
    """Turns blocks of any length into measured stretches of 4 s (the last one shorter)."""

    def __init__(self) -> None:
        self._network = SileroNetwork()

    def measure(self, blocks: Iterable[Samples]) -> Iterator[Measured]:
        """Measured stretches of one recording (or one span of it), in order."""
        self._network.reset()
        for block in regular(blocks, BLOCK):
            level = levels(block)
            yield Measured(block, level, self._probabilities(block, len(level)))

    def _probabilities(self, block: Samples, frames: int) -> Float32:
        count = -(-len(block) // CHUNK)
        padded = np.zeros(count * CHUNK, np.float32)
        padded[: len(block)] = block
        chances = self._network(padded.reshape(count, CHUNK))
        middles = (np.arange(frames) * FRAME + FRAME // 2) // CHUNK
        return chances[np.minimum(middles, count - 1)]


def regular(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """The same samples in blocks of exactly `size` (the last one shorter, never empty)."""
    parts: list[Samples] = []
    have = 0
    for block in blocks:
        parts.append(block)
        have += len(block)
        while have >= size:
            joined = np.concatenate(parts)
            yield joined[:size]
            parts = [joined[size:]]
            have -= size
    if have:
        yield np.concatenate(parts)


def percentile(values: Float32, percent: float) -> Any:
    """Like `np.percentile` over the last axis, without its overhead: numpy sorts many short rows ten times as
    fast as it selects a few values of each.
    """
    place = (values.shape[-1] - 1) * (percent / 100)
    below = int(place)
    above, share = min(below + 1, values.shape[-1] - 1), place - below
    ordered = np.sort(values, axis=-1)
    low, high = ordered[..., below], ordered[..., above]
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def median(values: Iterable[float]) -> float:
    """Like `np.median`, which imports `numpy.ma` at its first call, for 8 ms. NaN if there are none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def centred_sum(values: NDArray[Any], width: int) -> NDArray[Any]:
    """Sum of the odd `width` values around each; numpy's mode "same" returns more values for short input."""
    return np.convolve(values, np.ones(width, values.dtype))[width // 2 : width // 2 + len(values)]


def smoothed(values: Float32, width: int) -> Float32:
    """Centred moving average of odd `width`; at the ends over the values that exist.

    Sums of float32 are exact in float64, hence the same in any order.
    """
    exact = values.astype(np.float64)
    total, count = centred_sum(exact, width), centred_sum(np.ones_like(exact), width)
    out: Float32 = (total / count).astype(np.float32)
    return out
