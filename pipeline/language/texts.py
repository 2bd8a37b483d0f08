"""The languages that texts tell where detection leaves them open: of a row, and of its utterances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from asr_batch.models.recognizer import DecodeOptions, WindowResult
from asr_batch.pipeline.choice import ranked
from asr_batch.pipeline.guards import is_repetitive
from asr_batch.pipeline.language.heard import Heard, Utterance
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.requests import DecodeRequest, request
from asr_batch.pipeline.thresholds import (
    ALSO_SPOKEN,
    CHANCE_WEIGHT,
    FAINTLY,
    LEAST_CHANCE,
    LOOPED,
    MOST_LANGUAGES,
    NOT_SPOKEN,
    POOR_LOGPROB,
    RIVAL_CHANCE,
    RIVALS,
    TELLING_LOGPROB,
    TELLING_UTTERANCES,
    TURN_CHANCE,
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
) -> list[str | None]:
    """The other language of each utterance in which `main` is hardly heard and a text is likelier; else None.

    `chances`: the probability of each language in each utterance; `main`: that of most of the row. A model
    that knows a language badly takes each utterance for another one; so the fewest languages are sought.
    """
    rivals = {at: _rivals(one, main) for at, one in enumerate(chances) if one.get(main, 0.0) <= FAINTLY}
    asked = [(at, code) for at, codes in rivals.items() for code in codes]
    requests = [
        request(pieces[at][0], DecodeOptions(language=code, task="transcribe"), options, pieces[at][1])
        for at, code in asked
    ]
    texts: dict[int, dict[str, _Text]] = {at: {} for at in rivals}
    for (at, code), result in zip(asked, ask(requests) if requests else (), strict=True):
        texts[at][code] = _Text(_likely(result), chances[at].get(code, 0.0))
    spoken = _fewest(list(texts.values()), main)
    found: list[str | None] = [None] * len(pieces)
    for at, each in texts.items():
        best = max((code for code in spoken if code in each), key=lambda code: each[code].score)
        found[at] = best if best != main else None
    return found


@dataclass(frozen=True, slots=True)
class _Text:
    """The log-probability of a text in a language, and the probability of that."""

    likely: float
    chance: float

    @property
    def score(self) -> float:
        return self.likely + CHANCE_WEIGHT * math.log(max(self.chance, LEAST_CHANCE))

    def is_clear_beside(self, other: _Text) -> bool:
        """Whether it is clearly likelier than the other one, and likely itself, or its language sure.

        With and without the probability of its language: the same words in a sibling of a language are as
        likely, however surely that is detected.
        """
        likely = self.likely >= POOR_LOGPROB or self.chance >= TURN_CHANCE
        return likely and min(self.score - other.score, self.likely - other.likely) >= ALSO_SPOKEN


def _rivals(chances: Mapping[str, float], main: str) -> tuple[str, ...]:
    """The language `main`, and the likely ones."""
    likely = [code for code, chance in ranked(chances) if chance >= RIVAL_CHANCE and code != main]
    return (main, *likely[:RIVALS])


def _fewest(texts: Sequence[Mapping[str, _Text]], main: str) -> list[str]:
    """The language `main`, and those with a clearly likelier text in any utterance: the one that gains most
    first; a third one must make all texts together likelier by NOT_SPOKEN.
    """
    clear = {code for each in texts for code, text in each.items() if text.is_clear_beside(each[main])}
    spoken, best = [main], [each[main].score for each in texts]
    while clear:
        scores = {
            code: [
                max(each[code].score, now) if code in each else now
                for each, now in zip(texts, best, strict=True)
            ]
            for code in sorted(clear)
        }
        code = max(scores, key=lambda code: sum(scores[code]))
        if len(spoken) > 1 and sum(scores[code]) - sum(best) < NOT_SPOKEN:
            break
        clear.remove(code)
        spoken.append(code)
        best = scores[code]
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
