"""Chooses pauses to cut in: the odds that a sentence ends there, and the best chain of cuts ahead.

A model trained on sentences loses and invents words if a window begins or ends inside one. The longer a
pause is, and the surer Silero is that nobody speaks in it, the more likely a sentence ends there. Of all
chains of cuts, the one least likely to cut a sentence is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.audio.frames import Float32, percentile, smoothed

Ints = NDArray[np.int64]
Float64 = NDArray[np.float64]

_APART = 12  # frames on either side within which a place is the quietest
_STEP = 100  # frames that share one loudness value
_AROUND = 400  # frames on either side that determine the loudness
_LEAST = -12.0  # dB below the loud parts from which a place may be a pause
_DEEP, _SHALLOW, _OVER_FLOOR = -35.0, -12.0, 6.0
"""The length of a pause is measured 6 dB above the noise floor, 35 to 12 dB below the loud parts."""

_FLOOR, _LOUD = 10, 90  # percentiles of the level
_LONGEST = 60  # frames beyond which a longer pause is no better

# Logistic regression, boundary of two clips against all other dips: bench/cut_odds.py over the even halves
# of the synthetic and the human clips, without noise. The fade of the voice and the loudness afterwards add
# nothing (0.01). Weights fitted with noise make no fewer word errors (13.3 instead of 13.2 % without noise,
# 13.6 % with noise).
WEIGHTS = np.array([-1.43, 1.64, -5.1])

_WINDOW = 0.05
"""Cost of one more window, in cuts inside a sentence."""


@dataclass(frozen=True, slots=True)
class Places:
    """Dips of the level, in frames, ascending, each with its log-odds of ending a sentence."""

    at: Ints
    odds: Float64


def cut_places(level: Float32, speech: Float32) -> Places:
    """All candidate cuts of a stretch."""
    at, table = features(level, speech)
    return Places(at, table @ WEIGHTS)


def features(level: Float32, speech: Float32) -> tuple[Ints, Float64]:
    """The dips of a stretch, and of each [3]: speech probability, logarithm of the pause's length, and 1."""
    even = smoothed(level, 5)
    floor, loud = _floor_and_loud(level)
    at = _dips(even)
    at = at[even[at] <= loud[at] + _LEAST]
    quiet = smoothed(level, 3) <= np.clip(floor + _OVER_FLOOR, loud + _DEEP, loud + _SHALLOW)
    columns = (smoothed(speech, 5)[at], np.log1p(_lengths(quiet, at)), np.ones(len(at)))
    return at, np.stack(columns, axis=1)


def _dips(even: Float32) -> Ints:
    """Frames quieter than all before and not louder than any after, within 120 ms."""
    least = _least(np.pad(even, _APART, constant_values=np.inf), _APART)
    return np.flatnonzero((even < least[: len(even)]) & (even <= least[_APART + 1 :]))


def _least(values: Float32, width: int) -> Float32:
    """Minimum of every `width` consecutive values, [len(values) - width + 1]."""
    have = 1
    while have < width:
        step = min(have, width - have)
        values = np.minimum(values[:-step], values[step:])
        have += step
    return values


def _floor_and_loud(level: Float32) -> Float32:
    """[2, frames]: for each frame, the levels that 90 % and 10 % of the frames within 4 s exceed."""
    middles = np.arange(0, len(level), _STEP) + _STEP // 2
    whole = (middles >= _AROUND) & (middles + _AROUND <= len(level))
    told = np.empty((2, len(middles)), np.float32)
    if whole.any():  # in one call: separate calls take three times as long
        around = np.lib.stride_tricks.sliding_window_view(level, 2 * _AROUND)[middles[whole] - _AROUND]
        told[:, whole] = percentile(around, _FLOOR), percentile(around, _LOUD)
    for index in np.flatnonzero(~whole):
        near = level[max(0, middles[index] - _AROUND) : middles[index] + _AROUND]
        told[:, index] = percentile(near, _FLOOR), percentile(near, _LOUD)
    return np.repeat(told, _STEP, axis=1)[:, : len(level)]


def _lengths(mask: NDArray[np.bool_], at: Ints) -> Ints:
    """Length of the run of True around each place, 0 outside runs, at most 0.6 s."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    run = np.searchsorted(edges, at, side="right")
    inside = run % 2 == 1
    ends = np.concatenate((edges, [0, 0]))
    return np.where(inside, np.minimum(ends[run] - ends[run - 1], _LONGEST), 0)


def first_cut(places: Places, shortest: int, longest: int, length: int) -> int | None:
    """The first cut of the chain least likely to cut a sentence; None if no place is within reach.

    Windows have `shortest` to `longest` frames, `length` frames are in sight; all in frames from the
    window's start.
    """
    count = len(places.at)
    at = np.concatenate(([0], places.at))
    risk = (1 / (1 + np.exp(places.odds)) + _WINDOW).tolist()
    lows = np.searchsorted(at, places.at - longest).tolist()
    highs = np.searchsorted(at, places.at - shortest + 1).tolist()
    cost, first = [0.0], [0]  # lists: a call of numpy costs more than these few dozen numbers
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
