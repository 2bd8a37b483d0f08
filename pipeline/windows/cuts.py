"""Which pauses are worth a cut: the odds that a sentence ends there, and the best chain of cuts ahead.

A model trained on sentences loses and invents words where a window begins or ends inside one. A pause says
little about that by its length alone: a comma may be longer than the gap between two speakers. What is heard
around it says more: how long it is at two depths, whether the voice faded before it, whether it is as loud
behind it as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.audio.frames import Float32, percentile, smoothed

Ints = NDArray[np.int64]
Float64 = NDArray[np.float64]

_APART = 12  # frames to either side in which a place is the quietest
_STEP = 100  # frames for which one figure of loudness holds
_AROUND = 400  # frames to either side that tell how loud speech is there
_LEAST = -12.0  # dB under the loud parts from which a place may be a pause
_SHALLOW, _DEEP = -15.0, -35.0  # dB under the loud parts: depths at which a pause has a length
_LONGEST = 60  # frames beyond which a longer pause is no better
_SIDE, _LAST, _GAP = 150, 30, 5  # frames: a side of a pause, its last sounds, what belongs to the pause

# Logistic regression, border of two clips against every other dip, over recordings joined from half of the
# development clips with pauses of 0, 40, 0 to 80, and 300 to 1500 ms (docs/windows.md).
_WEIGHTS = np.array([-3.0, 0.47, 1.76, -0.26, 0.056, -6.3])

_WINDOW = 0.05
"""What one window more costs, in cuts inside a sentence."""


@dataclass(frozen=True, slots=True)
class Places:
    """Dips of the level, in frames, ascending, each with its log-odds of ending a sentence."""

    at: Ints
    odds: Float64


def cut_places(level: Float32, speech: Float32) -> Places:
    """All places of a stretch where a cut may lie."""
    even = smoothed(level, 5)
    loud = _loudness(level)
    at = _dips(even)
    at = at[even[at] <= loud[at] + _LEAST]
    return Places(at, features(level, speech, loud, at) @ _WEIGHTS)


def features(level: Float32, speech: Float32, loud: Float32, at: Ints) -> Float64:
    """[len(at), 6]: speech probability, lengths at two depths, fading, difference of loudness, and 1."""
    under = smoothed(level, 3) - loud
    power = np.concatenate(([0.0], np.cumsum(10.0 ** (level.astype(np.float64) / 10))))
    before = _mean(power, at - _SIDE, at)
    behind = _mean(power, at, at + _SIDE)
    columns = (
        smoothed(speech, 5)[at],
        np.log1p(_lengths(under <= _SHALLOW, at)),
        np.log1p(_lengths(under <= _DEEP, at)),
        _mean(power, at - _LAST, at - _GAP) - before,
        np.abs(before - behind),
        np.ones(len(at)),
    )
    return np.stack(columns, axis=1)


def _dips(even: Float32) -> Ints:
    """Frames quieter than all before and none louder than any behind, within 120 ms."""
    least = _least(np.pad(even, _APART, constant_values=np.inf), _APART)
    return np.flatnonzero((even < least[: len(even)]) & (even <= least[_APART + 1 :]))


def _least(values: Float32, width: int) -> Float32:
    """Least of every `width` values in a row, [len(values) - width + 1]."""
    have = 1
    while have < width:
        step = min(have, width - have)
        values = np.minimum(values[:-step], values[step:])
        have += step
    return values


def _loudness(level: Float32) -> Float32:
    """For each frame the level that a tenth of the frames within 4 s exceed."""
    middles = np.arange(0, len(level), _STEP) + _STEP // 2
    whole = (middles >= _AROUND) & (middles + _AROUND <= len(level))
    told = np.empty(len(middles), np.float32)
    if whole.any():  # in one call: a call for each costs three times as much
        around = np.lib.stride_tricks.sliding_window_view(level, 2 * _AROUND)
        told[whole] = percentile(around[middles[whole] - _AROUND], 90)
    for index in np.flatnonzero(~whole):
        told[index] = percentile(level[max(0, middles[index] - _AROUND) : middles[index] + _AROUND], 90)
    return np.repeat(told, _STEP)[: len(level)]


def _lengths(mask: NDArray[np.bool_], at: Ints) -> Ints:
    """Length of the run of True around each place, 0 where there is none, at most 0.6 s."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    run = np.searchsorted(edges, at, side="right")
    inside = run % 2 == 1
    ends = np.concatenate((edges, [0, 0]))
    return np.where(inside, np.minimum(ends[run] - ends[run - 1], _LONGEST), 0)


def _mean(total: Float64, start: Ints, end: Ints) -> Float64:
    """Mean power of [start, end) in dB, from its running sum."""
    start, end = np.maximum(start, 0), np.minimum(np.maximum(end, 1), len(total) - 1)
    mean = (total[end] - total[start]) / np.maximum(end - start, 1)
    out: Float64 = 10 * np.log10(np.maximum(mean, 1e-12))
    return out


def first_cut(places: Places, shortest: int, longest: int, length: int) -> int | None:
    """The first cut of the chain that most likely cuts no sentence; None if no place is within reach.

    Windows have `shortest` to `longest` frames, `length` frames are in sight; all in frames from the
    window's start.
    """
    count = len(places.at)
    at = np.concatenate(([0], places.at))
    risk = (1 / (1 + np.exp(places.odds)) + _WINDOW).tolist()
    lows = np.searchsorted(at, places.at - longest).tolist()
    highs = np.searchsorted(at, places.at - shortest + 1).tolist()
    cost, first = [0.0], [0]  # lists: a call of numpy costs more than the few dozen numbers it would look at
    for index in range(count):
        within = cost[lows[index] : highs[index]]
        least = min(within, default=np.inf)
        before = lows[index] + within.index(least) if within else 0
        cost.append(least + risk[index])
        first.append(first[before] or index + 1)
    left = length - at
    total = np.array(cost) + np.where(left <= longest, _WINDOW, 1.0) * left / longest
    best = int(np.argmin(total))
    return int(at[first[best]]) if first[best] else None
