"""Levels do not depend on the order in which a processor sums."""

from __future__ import annotations

import numpy as np

from asr_batch.pipeline.audio.frames import FRAME, levels, smoothed


def test_levels_in_any_order_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    loudness = 10 ** rng.uniform(-4, 0, (2000, 1))
    frames = (rng.normal(0, 1, (2000, FRAME)) * loudness).astype(np.float32)
    found = levels(frames.reshape(-1))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(levels(frames[:, ::-1].reshape(-1)), found)
    np.testing.assert_array_equal(levels(rng.permuted(frames, axis=1).reshape(-1)), found)
    exact = 10 * np.log10((frames.astype(np.float64) ** 2).mean(axis=1))
    np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_averages_in_any_order() -> None:
    rng = np.random.default_rng(1)
    for values in (rng.uniform(-90, 0, 3000), 10 ** rng.uniform(-6, 0, 3000)):
        given = values.astype(np.float32)
        np.testing.assert_array_equal(smoothed(given[::-1], 41)[::-1], smoothed(given, 41))
