"""Which languages a row is spoken in: the fewest that explain what is heard in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.thresholds import CONSIDERED, LEAST_CHANCE, MOST_LANGUAGES, TURN_CHANCE

_ROUNDS = 20
"""Rounds of expectation maximisation; shares change by less than 0.01 afterwards."""

_NOTICED = 0.2
"""Probability that a language must have once to be considered; the other ninety only cost time."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The probability of each language in a stretch of speech, and how much the stretch counts."""

    chances: Mapping[str, float]
    weight: float


def spoken_in(heard: Sequence[Evidence], main: str, least: float) -> tuple[str, ...]:
    """The language `main`, and those that make what is heard likelier, the best first.

    The second one by `least` nats; a row in two languages may have more, each by CONSIDERED. Where more is
    asked, each must have a probability of TURN_CHANCE at least once.

    What is heard is taken as a mixture of languages with unknown shares. A model that knows a language badly
    detects another one here and there, but each time a different one; one that is spoken as well is detected
    more than once, and no other one explains it.
    """
    codes = sorted({main}.union(*(one.chances for one in heard)))
    chances = np.array([[max(one.chances.get(code, 0.0), LEAST_CHANCE) for code in codes] for one in heard])
    weights = np.array([one.weight for one in heard])
    chosen = [codes.index(main)]
    if not weights.sum():
        return (main,)
    likely = _likelihood(chances[:, chosen], weights)
    sure = TURN_CHANCE if least > CONSIDERED else _NOTICED
    confident = set(np.flatnonzero(chances.max(axis=0) >= sure).tolist())
    while len(chosen) < MOST_LANGUAGES and (others := sorted(confident.difference(chosen))):
        ways = [_likelihood(chances[:, [*chosen, at]], weights) for at in others]
        best = int(np.argmax(ways))
        if ways[best] - likely < (least if len(chosen) == 1 else min(least, CONSIDERED)):
            break
        chosen.append(others[best])
        likely = ways[best]
    return tuple(codes[at] for at in chosen)


def _likelihood(chances: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Log-likelihood of stretches [stretches, languages] as a mixture with the best shares."""
    shares = np.full(chances.shape[1], 1 / chances.shape[1])
    for _ in range(_ROUNDS):
        parts = chances * shares
        parts *= (weights / parts.sum(axis=1))[:, None]
        shares = np.maximum(parts.sum(axis=0) / weights.sum(), np.finfo(np.float64).tiny)
    return float(weights @ np.log(chances @ shares))
