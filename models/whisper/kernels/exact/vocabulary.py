"""Logits and their norm, as c/vocabulary.h has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arithmetic import LANES, Float32, exp_of, folded, quantised
from asr_batch.models.whisper.kernels.exact.products import Linear

COLUMNS = 64
"""Logits summed together."""
_LEAST = np.float32(-3e38)
_NOTHING = np.float32(-18.1)
"""e to this, added to a sum of at least 1, leaves it as it is; every sum has the largest of its terms, 1."""


def sums_of(logits: Float32) -> tuple[Float32, Float32]:
    """The largest of `logits` [n, columns], a multiple of `COLUMNS` except in the last block, and the sum of
    exp(logit - largest), [n] each.
    """
    n, columns = logits.shape
    whole = columns // COLUMNS * COLUMNS
    top, total = np.full((n, LANES), _LEAST), np.zeros((n, LANES), np.float32)
    for part in (logits[:, :whole], logits[:, whole:]):
        if part.shape[1]:
            top, total = _added(part, min(COLUMNS, part.shape[1]), top, total)
    largest = top.max(axis=1)
    return largest, folded(total * exp_of(top - largest[:, None]))


def _added(logits: Float32, columns: int, top: Float32, total: Float32) -> tuple[Float32, Float32]:
    """`top` and `total` [n, LANES] after more logits, in blocks of `columns`."""
    blocks = logits.reshape(len(logits), -1, columns // LANES, LANES).transpose(1, 2, 0, 3)
    tops = np.maximum.accumulate(np.concatenate([top[None], blocks.max(axis=1)]))
    below, rising = blocks - tops[1:, None], tops[:-1] != tops[1:]
    counts = (below > _NOTHING) | rising[:, None]
    powers = np.zeros(below.shape, np.float32)
    powers[counts] = exp_of(below[counts])
    for i in np.flatnonzero(counts.any(axis=(1, 2, 3))).tolist():
        if rising[i].any():
            total *= exp_of(tops[i] - tops[i + 1])
        for power in powers[i]:
            total += power
    return tops[-1], total


def logits_of(ruled: Linear, others: Linear, states: Float32, count: int) -> Float32:
    """Logits [n, tokens] of `states` [n, d_model], the first `count` of them by `ruled`."""
    rows = quantised(states)
    parts = ((ruled, slice(0, count)), (others, slice(count, None)))
    made = [table(rows.part(some)) for table, some in parts if len(rows.step[some])]
    return made[0] if len(made) == 1 else np.concatenate(made)


def likeliest(logits: Float32, most: int) -> NDArray[np.int64]:
    """Columns of the `most` largest of each row, descending, of equals the first one first."""
    if most == 1:
        return np.asarray(logits.argmax(axis=1)[:, None])
    bounds = np.partition(logits, -most, axis=1)[:, -most]
    found = np.empty((len(logits), most), np.int64)
    for row, bound, ids in zip(logits, bounds, found, strict=True):
        some = np.flatnonzero(row >= bound)
        ids[:] = some[np.argsort(-row[some], kind="stable")[:most]]
    return found
