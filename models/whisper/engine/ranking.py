"""Chooses between several texts of a window.

The mean log-probability of the tokens favours a text that needs more of them for the same words ("1, 2, 3,
4" instead of "1234"); their sum favours one that leaves words out. Here the sum is divided by the time to
which the decoder attended: two spellings of the same words have the same time, and a text without some of
the words has less. (Wu et al. 2016, section 7, add a coverage term to the score for the same reason.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr_batch.models.whisper.engine.beam import Beam

_FULL = 0.2
"""Attention from which a group of positions counts as attended: a token attends to about three groups. Any
value from 0.1 to 0.5 gives almost the same error rates (docs/retries.md).
"""

_WHOLE = 0.8
"""Minimum length of another text, as a share of the tokens of the first: without this condition the error
rate rises, as attention is not exact enough to find every omission.
"""


def most_likely(first: Beam, others: Sequence[Beam]) -> Beam:
    """The most likely of these texts of a window; of equals, `first`.

    Much shorter texts than `first` do not count, unless the token limit ended it.
    """
    least = 0.0 if first.decoding.truncated else _WHOLE * len(first.decoding.tokens)
    whole = [other for other in others if len(other.decoding.tokens) >= least]
    return max([first, *whole], key=_score)


def _score(text: Beam) -> float:
    """Log-probability per attended group."""
    return text.decoding.logprob / max(1.0, _attended(text))


def _attended(text: Beam) -> float:
    """Number of groups of positions to which the tokens attended."""
    of_tokens = text.listened[: len(text.decoding.tokens)]
    return float(np.minimum(np.sum(of_tokens, axis=0) / _FULL, 1.0).sum()) if of_tokens else 0.0
