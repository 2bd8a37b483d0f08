"""Pads windows shorter than the 30 s that a Whisper was trained on with measured silence.

In training, shorter audio was padded with silence before the encoder, and the decoder learnt the hidden
states of that silence: they mark the end of the speech, and more. So a window is encoded with a margin of
silence, followed by states that were measured when the model was compiled
(:mod:`asr_batch.models.whisper.compile.measuring`): the means of :data:`STEP` neighbouring positions each,
with ln(number of positions) added to their cross-attention scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.features import HOP, N_FFT, log_mel, rounded
from asr_batch.models.recognizer import Samples

Float32 = NDArray[np.float32]
FILE = "silence.npy"
"""Name in a bundle of the table [groups, d_model], float32."""
LEVELS = 1 << 12
"""Of a measured state between two whole numbers: coarse enough to be the same everywhere. The bytes of
a quantised state are a hundred times as coarse.
"""
STEP = 20
"""Neighbouring positions (of 20 ms) that one state of silence represents."""
MARGIN = 20
"""Positions of silence encoded after a window; without them, last words are lost."""
LEAST = 300
"""Positions of a shorter window, encoded with as much silence as they take. The silence that a word is heard
in matters to the encoder, too: docs/decisions.md has the error rates of short clips.
"""
BLOCK = 96
"""Stored positions of a window are a multiple of this; int8 keys are stored in chunks of it. ONNX
Runtime's matrix-vector kernel reads the rows of a matrix in strips: uncached rows of 512 bytes take twice
as long as rows of 128. 10 s and the silence after them are six times 96.
"""
_SAMPLES = 2 * HOP  # of a position


def encoded_positions(samples: int, trained: int) -> int:
    """Positions to encode for a window of this many samples: its own and the margin, in whole groups; at
    least `LEAST`.
    """
    return min(max(_ending(samples), LEAST), trained)


def _ending(samples: int) -> int:
    """The first position behind a window and its margin, in whole groups."""
    own = -(-samples // _SAMPLES) + MARGIN
    return -(-own // STEP) * STEP


def features(samples: Samples, n_mels: int, positions: int, trained: int) -> Float32:
    """Log-mel [n_mels, 2 * positions] of a window, cut from its features padded to `trained` positions."""
    whole = min(positions * _SAMPLES + N_FFT, trained * _SAMPLES)
    return log_mel(samples, n_mels, whole)[:, : 2 * positions]


@dataclass(frozen=True, slots=True)
class Silence:
    """Measured states [groups, d_model] over `trained` positions; the last group may be short."""

    states: Float32
    trained: int

    def behind(self, positions: int) -> tuple[Float32, NDArray[np.int64]]:
        """The states after this many encoded positions, and how many positions each represents."""
        first = -(-positions // STEP)
        starts = np.arange(first, len(self.states)) * STEP
        return self.states[first:], np.minimum(STEP, self.trained - starts)


def groups(trained: int) -> int:
    """Groups of a table over this many positions."""
    return -(-trained // STEP)


def read_silence(folder: Path, d_model: int, trained: int) -> Silence:
    """The table of the bundle at `folder`. Raises ModelError if it does not fit the model."""
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
    encode: Callable[[Float32], NDArray[Any]], recordings: Iterable[Samples], n_mels: int, positions: int
) -> Float32:
    """Measure a table over `positions`; `encode` takes log-mel [n_mels, 2 * positions].

    Recordings are padded to the full length; the states after their ends are averaged per position over
    the recordings, then over groups of neighbours. Silence alone would give different states.
    """
    total: NDArray[np.float64] | None = None
    count = np.zeros(positions, np.int64)
    longest = max(1, positions - MARGIN - 2 * STEP) * _SAMPLES
    for samples in recordings:
        states = encode(rounded(features(samples[:longest], n_mels, positions, positions)))
        start = min(_ending(min(len(samples), longest)), positions)
        total = np.zeros(states.shape) if total is None else total
        total[start:] += states[start:]
        count[start:] += 1
    assert total is not None
    return _grouped(total, count)


def _grouped(total: NDArray[np.float64], count: NDArray[np.int64]) -> Float32:
    """Means of groups; positions before the first measured one use the nearest group."""
    table = np.zeros((groups(len(total)), total.shape[1]), np.float32)
    if count.any():
        first = int(np.argmax(count > 0))
        mean = total[first:] / count[first:, None]
        for i in range(len(table)):
            at = max(0, i * STEP - first)
            table[i] = rounded(mean[at : at + STEP].mean(axis=0), LEVELS)
    return table
