"""One window on its way through the decoder: which token comes next and when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import DecodeOptions

Float32 = NDArray[np.float32]

TOKENS_PER_SECOND = 16
"""Cap per second of audio when the caller sets none: above the fastest speech in any script."""

LEAST_CAP = 512
"""Cap of short windows when the caller sets none (the vendor's default)."""


def token_cap(seconds: float, options: DecodeOptions) -> int:
    """How many ids a window of `seconds` may generate."""
    if options.max_new_tokens is not None:
        return options.max_new_tokens
    return max(LEAST_CAP, int(seconds * TOKENS_PER_SECOND))


class NotFiniteError(ValueError):
    """The graph gave NaN or infinity for this window."""


@dataclass(slots=True)
class Decoding:
    """Generated `tokens` (without the end id), their log-probabilities and the end of the window."""

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

        Raises NotFiniteError. The log-probability counts under temperature 1, end ids included.
        """
        if self.cap <= 0:
            self.truncated = True
            return None
        row = self._allowed(logits)
        top = float(row.max())
        if not np.isfinite(top):
            raise NotFiniteError(f"logits are {top} after {len(self.tokens)} tokens")
        token = int(row.argmax()) if self.options.temperature <= 0 else self._draw(row)
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
        """Mean natural log-probability of all chosen ids, the end id included."""
        return self.logprob / max(self.steps, 1)

    def _allowed(self, logits: Float32) -> Float32:
        """The row with end ids forbidden where the text would begin, if the caller asks for that."""
        begins = not self.tokens or self.tokens[-1] == self.asr_text
        if not (self.options.suppress_first_eot and begins):
            return logits
        row = logits.copy()
        row[list(self.eos)] = -np.inf
        return row

    def _draw(self, row: Float32) -> int:
        """Gumbel-max sample; the draw depends on the window's seed and the step alone."""
        noise = np.random.default_rng([self.options.seed, self.steps]).gumbel(size=row.shape)
        return int(np.argmax(row / self.options.temperature + noise))
