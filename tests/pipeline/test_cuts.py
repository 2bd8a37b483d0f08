"""Where windows are cut, and a window that the model was unsure of, heard again from an earlier pause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import joined, row

from asr_batch.models.recognizer import Recognizer
from asr_batch.pipeline.audio.frames import percentile, smoothed
from asr_batch.pipeline.audit import near
from asr_batch.pipeline.windows.cuts import Places, cut_places, first_cut

Clips = list[tuple[str, np.ndarray]]


@pytest.mark.parametrize("floor", [-90, -55, -40])
def test_a_longer_pause_has_the_better_odds_in_silence_and_in_noise(floor: float) -> None:
    rng = np.random.default_rng(1)
    level = (np.full(1200, -20) + rng.normal(0, 1, 1200)).astype(np.float32)
    speech = np.full(1200, 0.95, np.float32)
    for start, length in ((300, 8), (600, 20), (900, 60), (1000, 60)):
        level[start : start + length] = floor + rng.normal(0, 1, length)
        speech[start : start + length] = 0.3
    places = cut_places(level, speech)
    odds = [
        max(odds for at, odds in zip(places.at, places.odds, strict=True) if abs(at - near) < 40)
        for near in (304, 610, 920)
    ]
    assert odds == sorted(odds)
    assert odds[0] < odds[1] - 0.5 < odds[2] - 1
    assert odds[2] > 0


def test_a_place_is_the_first_quietest_frame_within_120_ms() -> None:
    level = np.random.default_rng(2).choice([-50, -30, -20], 400, p=[0.02, 0.48, 0.5]).astype(np.float32)
    even = smoothed(level, 5)
    places = cut_places(level, np.zeros(400, np.float32))
    expected = [at for at in range(400) if _first_quietest(even, at) and even[at] <= -32]
    assert len(expected) > 3
    np.testing.assert_array_equal(places.at, expected)


def _first_quietest(even: np.ndarray, at: int) -> bool:
    before, behind = even[max(0, at - 12) : at], even[at : at + 13]
    return bool((before > even[at]).all() and (behind >= even[at]).all())


@pytest.mark.parametrize("percent", [10, 75, 90])
@pytest.mark.parametrize("shape", [(1,), (2,), (37,), (1000,), (5, 800)])
def test_percentiles_are_those_of_numpy(shape: tuple[int, ...], percent: float) -> None:
    values = np.random.default_rng(3).normal(-40, 20, shape).astype(np.float32)
    np.testing.assert_allclose(
        percentile(values, percent), np.percentile(values, percent, axis=-1), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("odds", "length", "expected"),
    [
        ({400: -1, 700: 1, 950: 5}, 1200, 950),  # the best
        ({700: 2, 950: 3, 1100: 5}, 2000, 700),  # behind 950 no cut is left that would be in time
        ({200: 5}, 1200, None),  # too short a window
        ({}, 1200, None),
    ],
)
def test_the_first_cut_of_the_best_chain(odds: dict[int, float], length: int, expected: int | None) -> None:
    places = Places(np.array(sorted(odds), np.int64), np.array([odds[at] for at in sorted(odds)], float))
    assert first_cut(places, 300, 1000, length) == expected


def test_with_pauses_of_40_ms_no_cut_lies_inside_a_clip(
    nano: Recognizer, save: Callable[..., Path], clips: Clips
) -> None:
    chosen = [clips[i] for i in (3, 2, 4, 5, 6, 7, 8, 9)]
    transcript = row(save(joined(chosen, 0.04)), nano)
    borders, at = [], 0.0
    for _, clip in chosen[:-1]:
        at += len(clip) / 16000 + 0.04
        borders.append(at)
    for window in transcript.windows[:-1]:
        assert min(abs(window.end - border) for border in borders) < 0.15


@pytest.mark.parametrize("width", [3, 5, 41])
def test_means_of_few_frames(width: int) -> None:
    values = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    for count in range(1, len(values)):
        some, reach = values[:count], width // 2
        around = [some[max(0, i - reach) : i + reach + 1].mean() for i in range(count)]
        np.testing.assert_allclose(smoothed(some, width), around, atol=1e-6)


def test_near_in_few_frames() -> None:
    for count in range(1, 12):
        for at in range(count):
            mask = np.arange(count) == at
            np.testing.assert_array_equal(near(mask, 3), np.abs(np.arange(count) - at) <= 3)
