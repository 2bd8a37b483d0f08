"""Choosing tokens fast: one pass over the log-probabilities that the graph gives.

Most steps are greedy steps without time stamps behind the first token. For these the graph's LogSoftmax
has done the work: the mass of the suppressed ids is taken out of the norm, and one arg-max per row is left.
Everything else goes through :class:`TokenRules`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.rules import Decoding, TokenRules

Float32 = NDArray[np.float32]
_LEFT = 1e-3  # share of the mass outside the suppressed ids below which the norm is summed anew


def _is_plain_step(window: Decoding) -> bool:
    options = window.options
    return bool(window.tokens) and options.temperature == 0 and not options.timestamps


class FastRules(TokenRules):
    """:class:`TokenRules` over normalised log-probabilities instead of logits; the same tokens."""

    def step(self, running: Sequence[Decoding], logits: Float32) -> None:
        """Give each window its next token; `logits` are log-probabilities and are overwritten."""
        plain = [i for i, window in enumerate(running) if _is_plain_step(window)]
        if len(plain) < len(running):
            rest = [i for i in range(len(running)) if i not in plain]
            super().step([running[i] for i in rest], logits[rest])
        if plain:
            rows = logits if len(plain) == len(running) else logits[plain]
            self._plain_step([running[i] for i in plain], rows)

    def _plain_step(self, windows: Sequence[Decoding], rows: Float32) -> None:
        gone = np.exp(rows[:, self._always]).sum(axis=1, dtype=np.float64)
        rows[:, self._always] = -np.inf
        tokens = rows.argmax(axis=1)
        for i, (window, token) in enumerate(zip(windows, tokens.tolist(), strict=True)):
            left = 1.0 - float(gone[i])
            if left < _LEFT:
                left = float(np.exp(rows[i]).sum(dtype=np.float64))
            norm = np.log(left) if left > 0 else np.nan
            self._take(window, token, float(rows[i, token] - norm))

    def allowed(self, running: Sequence[Decoding], rows: Float32) -> NDArray[np.float64]:
        """Log-probabilities over what the rules let each window say next; `rows` [n, vocab] are kept."""
        rows = rows.copy()
        rows[:, self._always] = -np.inf
        for row, window in zip(rows, running, strict=True):
            self._forbid(row, window)
        top = rows.max(axis=1, keepdims=True)
        shifted = (rows - top).astype(np.float64)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
