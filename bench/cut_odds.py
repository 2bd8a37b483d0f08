"""Fits the odds that a dip of the level ends a sentence: the weights in pipeline/windows/cuts.py.

    python -m bench.cut_odds --clips MANIFEST [MANIFEST ...] [--half even] [--minutes 3]

Joins clips with pauses of 0 s, 40 ms, 0 to 80 ms and 0.3 to 1.5 s over faint noise (digital silence would
reveal the joins), and over white and pink noise 30 to 10 dB below the speech. Every dip within 60 ms of a
pause between two clips counts as the end of a sentence, all others do not. Prints the weights of a logistic
regression (Newton's method, weak ridge) on the planner's features, and the mean negative log-likelihood of
the other half of the clips in each noise, with these weights and with those in use.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Meter
from asr_batch.pipeline.windows.cuts import WEIGHTS, features
from bench.inputs import an_existing_file
from bench.speech.clips import Recording, joined, load
from bench.speech.conditions import in_noise

PAUSES = ((0.0, 0.0), (0.04, 0.04), (0.0, 0.08), (0.3, 1.5))
NEAR = 0.06
NOISES = {
    "faint noise": (45.0, 0.0),
    "white noise, 30 dB below": (30.0, 0.0),
    "white noise, 20 dB below": (20.0, 0.0),
    "pink noise, 30 dB below": (30.0, 1.0),
    "pink noise, 20 dB below": (20.0, 1.0),
    "pink noise, 10 dB below": (10.0, 1.0),
}
"""Decibels below the speech, and slope of the spectrum."""

Floats = NDArray[np.float64]


def samples_of(recording: Recording, noise: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Features of every dip, and whether it lies between two clips."""
    measured = list(Meter().measure([in_noise(recording.samples, *NOISES[noise])]))
    level = np.concatenate([part.level for part in measured])
    speech = np.concatenate([part.speech for part in measured])
    at, table = features(level, speech)
    seconds = at / FRAMES_PER_SECOND
    between = np.zeros(len(at), bool)
    for left, right in pairwise(recording.said):
        between |= (seconds >= left.end - NEAR) & (seconds <= right.start + NEAR)
    return table, between


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
) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """All dips of recordings with each kind of pause, for each language of each manifest, in each noise."""
    recordings = []
    for manifest in manifests:
        clips = load(manifest, half)
        for language in sorted({clip.language for clip in clips}):
            some = [clip for clip in clips if clip.language == language]
            recordings += [joined(some, minutes, seed + i, p) for i, p in enumerate(PAUSES)]
    found = {}
    for noise in NOISES:
        parts = [samples_of(recording, noise) for recording in recordings]
        found[noise] = (np.concatenate([table for table, _ in parts]), np.concatenate([t for _, t in parts]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=an_existing_file, nargs="+", required=True)
    parser.add_argument("--half", choices=["even", "odd", "all"], default="even")
    parser.add_argument("--minutes", type=float, default=3)
    args = parser.parse_args()
    some = list(tables(args.clips, args.half, args.minutes, 11).values())
    truth = np.concatenate([truth for _, truth in some])
    weights = fitted(np.concatenate([table for table, _ in some]), truth)
    print(f"{len(truth)} dips, {truth.sum()} between clips")
    print("weights", np.array2string(weights, precision=2, separator=", "))
    other = "odd" if args.half == "even" else "even"
    for noise, (table, truth) in tables(args.clips, other, args.minutes, 21).items():
        now, used = loss(table, truth, weights), loss(table, truth, WEIGHTS)
        print(f"other half, {noise}: loss {now:.4f}, of the weights in use {used:.4f}")


if __name__ == "__main__":
    main()
