"""Silero's voice activity network (v6, 16 kHz), many chunks per call.

`silero_v6.safetensors` has the published weights as 16-bit integers; `tools/silero` writes it. All
instruction sets, and numpy without the kernel library, give bit-identical probabilities, so windows are cut
at the same places everywhere. tests/models/test_silero.py compares them with those of Silero's own library.
"""

from __future__ import annotations

import numpy as np

from asr_batch.models.kernels.library import in_use
from asr_batch.models.silero.exact import ExactSilero
from asr_batch.models.silero.kernel import SileroKernel
from asr_batch.models.silero.weights import WIDTH, Float32


class SileroNetwork:
    """Speech probabilities of consecutive chunks; keeps the LSTM state between calls. For one thread."""

    def __init__(self) -> None:
        chosen = in_use()
        self._run = SileroKernel(chosen) if chosen.compiled else ExactSilero()
        self.reset()

    def reset(self) -> None:
        """Reset the LSTM state."""
        self._state = np.zeros((2, WIDTH), np.float32)

    def __call__(self, chunks: Float32) -> Float32:
        """Probabilities [n] of `chunks` [n, 512], float32 samples, in order."""
        return self._run(chunks, self._state)
