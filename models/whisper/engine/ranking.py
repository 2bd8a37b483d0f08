"""How likely a text of a window is, compared with other texts of the same window.

The mean log-probability of the tokens favours a text that needs more of them for the same words ("1, 2, 3,
4" instead of "1234"); their sum favours one that leaves words out. Here the sum is divided by the time to
which the decoder attended: two spellings of the same words have the same time, and a text without some of
the words has less. (Wu et al. 2016, section 7, add a coverage term to the score for the same reason.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.rules import Decoding

Float32 = NDArray[np.float32]

_FULL = 0.2
"""Attention from which a group of positions counts as attended: a token attends to about three groups. Any
value from 0.1 to 0.5 gives almost the same error rates.
"""

_WHOLE = 0.8
"""Minimum length of another text, as a share of the tokens of the first: without this condition the error
rate rises, as attention is not exact enough to find every omission.
"""


def scores(logprobs: NDArray[np.float64], attention: Float32) -> NDArray[np.float64]:
    """Log-probability per attended group of texts with sums `logprobs` [...]; their tokens' `attention` over
    the window is summed, [..., groups].
    """
    attended = np.minimum(attention / np.float32(_FULL), 1).sum(axis=-1, dtype=np.float64)
    return np.asarray(logprobs / np.maximum(attended, 1))


def fewest_tokens(first: Decoding) -> float:
    """Tokens that another text than `first` needs to count; none if the token limit ended `first`."""
    return 0.0 if first.truncated else _WHOLE * len(first.tokens)
