"""The languages that texts tell where detection leaves them open: of a row, and of its utterances."""

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
    ALSO_SPOKEN,
    CHANCE_WEIGHT,
    FAINTLY,
    LEAST_CHANCE,
    LOOPED,
    MOST_LANGUAGES,
    NOT_SPOKEN,
    RIVAL_CHANCE,
    RIVALS,
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


def told_by_texts(
    pieces: Sequence[Utterance],
    chances: Sequence[Mapping[str, float]],
    main: str,
    options: PipelineOptions,
    ask: Ask,
) -> list[str]:
    """The language of each utterance: `main`, or where that is hardly heard, the one with the likeliest text.

    `chances`: the probability of each language in each utterance; `main`: that of most of the row. A model
    that knows a language badly takes each utterance for another one; so the fewest languages are sought.
    """
    rivals = {at: _rivals(one, main) for at, one in enumerate(chances) if one.get(main, 0.0) <= FAINTLY}
    asked = [(at, code) for at, codes in rivals.items() for code in codes]
    requests = [
        request(pieces[at][0], DecodeOptions(language=code, task="transcribe"), options, pieces[at][1])
        for at, code in asked
    ]
    texts: dict[int, dict[str, float]] = {at: {} for at in rivals}
    for (at, code), result in zip(asked, ask(requests) if requests else (), strict=True):
        weighed = CHANCE_WEIGHT * math.log(max(chances[at].get(code, 0.0), LEAST_CHANCE))
        texts[at][code] = _likely(result) + weighed
    spoken = _fewest(list(texts.values()), main)
    found = [main] * len(pieces)
    for at, each in texts.items():
        found[at] = max(spoken, key=lambda code: each.get(code, -math.inf))
    return found


def _rivals(chances: Mapping[str, float], main: str) -> tuple[str, ...]:
    """The language `main`, and the likely ones."""
    likely = [code for code, chance in ranked(chances) if chance >= RIVAL_CHANCE and code != main]
    return (main, *likely[:RIVALS])


def _fewest(texts: Sequence[Mapping[str, float]], main: str) -> list[str]:
    """The languages that texts are clearly likelier in: the one that gains most first, until none does."""
    spoken, best = [main], [each[main] for each in texts]
    while others := sorted(set(chain.from_iterable(texts)).difference(spoken)):
        likely = {
            code: [max(each.get(code, now), now) for each, now in zip(texts, best, strict=True)]
            for code in others
        }
        code = max(others, key=lambda code: sum(likely[code]))
        if sum(likely[code]) - sum(best) < (ALSO_SPOKEN if len(spoken) == 1 else NOT_SPOKEN):
            break
        spoken.append(code)
        best = likely[code]
    return spoken


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
