"""The language of a row that detection leaves open: that of the likeliest texts of its utterances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice, zip_longest

from asr_batch.models.recognizer import DecodeOptions, WindowResult
from asr_batch.pipeline.choice import ranked
from asr_batch.pipeline.guards import DecodeRequest, is_repetitive, request
from asr_batch.pipeline.language.heard import Heard, Utterance
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.thresholds import (
    CHANCE_WEIGHT,
    LEAST_CHANCE,
    LOOPED,
    MOST_LANGUAGES,
    TELLING_LOGPROB,
    TELLING_UTTERANCES,
)

Ask = Callable[[Sequence[DecodeRequest]], Sequence[WindowResult]]
"""Decodes windows and waits for them."""


def likeliest(
    windows: Iterable[Heard], chances: Mapping[str, float], options: PipelineOptions, ask: Ask
) -> str | None:
    """The language of `chances` in which the utterances of the windows have the likeliest texts; None if no
    text is likely.

    A language that the decoder takes for another one is still the one in which it writes most surely.
    """
    spoken = _longest(windows)
    codes = [code for code, chance in ranked(chances)[:MOST_LANGUAGES] if chance >= LEAST_CHANCE]
    if not spoken or len(codes) < 2:
        return None
    bases = [DecodeOptions(language=code, task="transcribe") for code in codes]
    results = ask([request(one, base, options, seconds) for base in bases for one, seconds in spoken])
    likely = {
        code: sum(map(_likely, results[at : at + len(spoken)])) / len(spoken)
        for code, at in zip(codes, range(0, len(results), len(spoken)), strict=True)
    }
    best = max(codes, key=lambda code: likely[code] + CHANCE_WEIGHT * math.log(chances[code]))
    return best if likely[best] >= TELLING_LOGPROB else None


def _longest(windows: Iterable[Heard]) -> list[Utterance]:
    """The longest utterances, as many of each window as of the others if it has them."""
    each = [sorted(window.utterances(), key=lambda one: -one[1]) for window in windows]
    turns = chain.from_iterable(zip_longest(*each))
    return list(islice((one for one in turns if one is not None), TELLING_UTTERANCES))


def _likely(result: WindowResult) -> float:
    """Log-probability of a text; a loop is likelier with each round."""
    if math.isnan(result.avg_logprob):
        return -LOOPED
    return result.avg_logprob - LOOPED * (result.truncated or is_repetitive(result))
