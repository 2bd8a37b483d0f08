"""Fits the odds that a dip of the level ends a sentence: the weights in pipeline/windows/cuts.py.

    python -m bench.cut_odds --clips MANIFEST [MANIFEST ...] [--half even] [--minutes 10]

Joins clips with pauses of 0 s, 40 ms, 0 to 80 ms and 0.3 to 1.5 s over faint noise (digital silence would
reveal the joins). Every dip within 60 ms of a pause between two clips counts as the end of a sentence, all
others do not. Prints the weights of a logistic regression (Newton's method, weak ridge) on the planner's
features, and how often the best dip near a true boundary is the right one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Meter
from asr_batch.pipeline.windows.cuts import _LEAST, WEIGHTS, _dips, _loudness, features, smoothed
from bench.speech.clips import Recording, joined, load

PAUSES = ((0.0, 0.0), (0.04, 0.04), (0.0, 0.08), (0.3, 1.5))
NEAR = 0.06
NOISE = -60.0  # dBFS
Floats = NDArray[np.float64]


def samples_of(recording: Recording) -> tuple[Floats, NDArray[np.bool_]]:
    """Features of every dip, and whether it lies between two clips."""
    noise = np.random.default_rng(1).normal(0, 10 ** (NOISE / 20), len(recording.samples))
    measured = list(Meter().measure([recording.samples + noise.astype(np.float32)]))
    level = np.concatenate([part.level for part in measured])
    speech = np.concatenate([part.speech for part in measured])
    even, loud = smoothed(level, 5), _loudness(level)
    at = _dips(even)
    at = at[even[at] <= loud[at] + _LEAST]
    seconds = at / FRAMES_PER_SECOND
    said = recording.said
    between = np.zeros(len(at), bool)
    for left, right in pairwise(said):
        between |= (seconds >= left.end - NEAR) & (seconds <= right.start + NEAR)
    return features(level, speech, loud, at), between


def fitted(table: Floats, truth: NDArray[np.bool_], ridge: float = 1.0) -> Floats:
    """Weights of the logistic regression of `truth` on the columns of `table`."""
    weights = np.zeros(table.shape[1])
    penalty = ridge * np.eye(table.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(table @ weights)))
        slope = table.T @ (truth - chance) - penalty @ weights
        curve = (table * (chance * (1 - chance))[:, None]).T @ table + penalty
        weights = weights + np.linalg.solve(curve, slope)
    return np.asarray(weights)


def loss(table: Floats, truth: NDArray[np.bool_], weights: Floats) -> float:
    """Mean negative log-likelihood."""
    odds = table @ weights
    return float(np.mean(np.logaddexp(0, np.where(truth, -odds, odds))))


def tables(
    manifests: Sequence[Path], half: str, minutes: float, seed: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """All dips of recordings with each kind of pause, for each language of each manifest."""
    found = []
    for manifest in manifests:
        clips = load(manifest, half)
        for language in sorted({clip.language for clip in clips}):
            some = [clip for clip in clips if clip.language == language]
            found += [samples_of(joined(some, minutes, seed + i, p)) for i, p in enumerate(PAUSES)]
    return np.concatenate([table for table, _ in found]), np.concatenate([truth for _, truth in found])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--half", choices=["even", "odd", "all"], default="even")
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    table, truth = tables(args.clips, args.half, args.minutes, 11)
    weights = fitted(table, truth)
    print(f"{len(truth)} dips, {truth.sum()} between clips")
    print("weights", np.array2string(weights, precision=2, separator=", "))
    table, truth = tables(args.clips, "odd" if args.half == "even" else "even", args.minutes, 21)
    now, used = loss(table, truth, weights), loss(table, truth, WEIGHTS)
    print(f"other half: loss {now:.4f}, of the weights in use {used:.4f}")


if __name__ == "__main__":
    main()
