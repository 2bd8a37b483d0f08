"""Pads windows shorter than the 30 s that a Whisper was trained on with measured silence.

In training, shorter audio was padded with silence before the encoder, and the decoder learnt what the encoder
makes of that silence: that the speech is over, and more. So a window is encoded with a margin of silence,
followed by states that were measured when the model was compiled
(:mod:`asr_batch.models.whisper.compile.measuring`): the means of :data:`STEP` neighbouring positions each, to
which the cross-attention adds ln(how many they stand for).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.features import HOP, N_FFT, log_mel
from asr_batch.models.recognizer import Samples

Float32 = NDArray[np.float32]
FILE = "silence.npy"
"""Name in a bundle of the table [groups, d_model], float32."""
STEP = 20
"""Neighbouring positions (of 20 ms) that one state of silence represents."""
MARGIN = 20
"""Positions of silence encoded after a window; without them, last words are lost."""
BLOCK = 96
"""What is stored of a window comes in multiples of this; int8 keys lie together in chunks of it. ONNX
Runtime's matrix-vector kernel walks through the rows of a matrix in strips: rows of 512 bytes that are not in
the cache take it twice as long as rows of 128; 10 s and the silence behind them are six times 96."""
_SAMPLES = 2 * HOP  # of a position


def encoded_positions(samples: int, trained: int) -> int:
    """Positions to encode of a window of so many samples: its own and the margin, in whole groups."""
    own = -(-samples // _SAMPLES) + MARGIN
    return min(-(-own // STEP) * STEP, trained)


def features(samples: Samples, n_mels: int, positions: int, trained: int) -> Float32:
    """Log-mel [n_mels, 2 * positions] of a window: the first frames of what the extractor makes of it after
    padding it to `trained` positions.
    """
    whole = min(positions * _SAMPLES + N_FFT, trained * _SAMPLES)
    return log_mel(samples, n_mels, whole)[:, : 2 * positions]


@dataclass(frozen=True, slots=True)
class Silence:
    """Measured states [groups, d_model] over `trained` positions from the first on; the last may be short."""

    states: Float32
    trained: int

    def behind(self, positions: int) -> tuple[Float32, NDArray[np.int64]]:
        """The states behind so many encoded positions, and how many positions each stands for."""
        first = -(-positions // STEP)
        starts = np.arange(first, len(self.states)) * STEP
        return self.states[first:], np.minimum(STEP, self.trained - starts)


def groups(trained: int) -> int:
    """Groups of a table over so many positions."""
    return -(-trained // STEP)


def read_silence(folder: Path, d_model: int, trained: int) -> Silence:
    """The table of the bundle at `folder`. Raises ModelError when it does not fit the model."""
    path = folder / FILE
    try:
        states = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); compile the model again") from error
    expected = (groups(trained), d_model)
    if states.shape != expected or states.dtype != np.float32 or not np.isfinite(states).all():
        raise ModelError(f"{path}: no finite float32 table {expected}; compile the model again")
    return Silence(states, trained)


def average_silence(
    encode: Callable[[Float32], Float32], recordings: Iterable[Samples], n_mels: int, positions: int
) -> Float32:
    """Measure a table over `positions`, which `encode` makes from log-mel [n_mels, 2 * positions] at once.

    Recordings are padded to the full length; the states behind their ends are averaged position by position
    over the recordings, then over groups of neighbours. Silence behind nothing but silence would not do: the
    encoder makes something else of it.
    """
    total: NDArray[np.float64] | None = None
    count = np.zeros(positions, np.int64)
    longest = max(1, positions - MARGIN - 2 * STEP) * _SAMPLES
    for samples in recordings:
        states = encode(features(samples[:longest], n_mels, positions, positions))
        start = encoded_positions(min(len(samples), longest), positions)
        total = np.zeros(states.shape) if total is None else total
        total[start:] += states[start:]
        count[start:] += 1
    assert total is not None
    return _grouped(total, count)


def _grouped(total: NDArray[np.float64], count: NDArray[np.int64]) -> Float32:
    """Means of groups; in front of the first measured position stands the nearest group."""
    table = np.zeros((groups(len(total)), total.shape[1]), np.float32)
    if count.any():
        first = int(np.argmax(count > 0))
        mean = total[first:] / count[first:, None]
        for i in range(len(table)):
            at = max(0, i * STEP - first)
            table[i] = mean[at : at + STEP].mean(axis=0)
    return table
