"""Greedy decoding of one window: the next token, and when the window ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import DecodeOptions

Float32 = NDArray[np.float32]

TOKENS_PER_SECOND = 16
"""Default cap per second of audio: above the fastest speech in any script."""

LEAST_CAP = 512
"""Default cap for short windows (the vendor's)."""


def token_cap(seconds: float, options: DecodeOptions) -> int:
    """Maximum number of tokens of a window of `seconds`."""
    if options.max_new_tokens is not None:
        return options.max_new_tokens
    return max(LEAST_CAP, int(seconds * TOKENS_PER_SECOND))


class NotFiniteError(ValueError):
    """The graph returned NaN or infinity for this window."""


@dataclass(slots=True)
class Decoding:
    """The state of one window: `tokens` so far (without the end id), log-probabilities, whether it ended."""

    options: DecodeOptions
    cap: int
    eos: frozenset[int]
    asr_text: int
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    steps: int = 0
    truncated: bool = False

    def take(self, logits: Float32) -> int | None:
        """Choose the next token from `logits` [vocab]; None when the window has ended.

        Log-probabilities include the end id. Raises NotFiniteError.
        """
        if self.cap <= 0:
            self.truncated = True
            return None
        row = self._allowed(logits)
        top = float(row.max())
        if not np.isfinite(top):
            raise NotFiniteError(f"logits are {top} after {len(self.tokens)} tokens")
        token = int(row.argmax())
        self.logprob += float(row[token]) - top - float(np.log(np.exp(row - top).sum()))
        self.steps += 1
        if token in self.eos:
            return None
        self.tokens.append(token)
        if len(self.tokens) >= self.cap:
            self.truncated = True
            return None
        return token

    @property
    def avg_logprob(self) -> float:
        """Mean natural log-probability of all chosen ids, including the end id."""
        return self.logprob / max(self.steps, 1)

    def _allowed(self, logits: Float32) -> Float32:
        """The logits, with end ids suppressed at the first token if the caller asked for that."""
        begins = not self.tokens or self.tokens[-1] == self.asr_text
        if not (self.options.suppress_first_eot and begins):
            return logits
        row = logits.copy()
        row[list(self.eos)] = -np.inf
        return row
