"""The first decoding of a window, in the language of the row or in the most likely of several."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import DecodeOptions, Samples, WindowResult
from asr_batch.pipeline.guards import (
    DecodeRequest,
    Outcome,
    hypothesis,
    is_repetitive,
    judge,
    request,
    with_letters,
    within_audio,
)
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.thresholds import (
    CHANCE_WEIGHT,
    ENOUGH_SPEECH,
    LEAST_CHANCE,
    LEAST_SPEECH,
    SECOND_LANGUAGE,
)

Decoding = Generator[DecodeRequest, WindowResult, Outcome]
"""Yields requests and receives results: a further attempt is another entry of the running batch."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A row whose language was detected, not given.

    `language`: the main one of the row, decoded as well where another one is detected, as detection may err.
    `chances`: probabilities of the candidate languages of a row with an unclear language. `allowed`: the only
    languages that may be spoken; empty: any.
    """

    language: str | None = None
    chances: Mapping[str, float] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()


def decode(
    samples: Samples, base: DecodeOptions, options: PipelineOptions, speech: float, choice: Choice | None
) -> Decoding:
    """Decode one window that has `speech` seconds of speech (by Silero).

    If the row has several candidate languages, or if the decoder detects another one in the window, the most
    likely text wins, with a small weight for the probability of its language. Candidates are decoded without
    the prompt, which is in one language only. Translations say little about the language spoken: a window to
    translate is transcribed first if several are possible.
    """
    if choice is None or speech < LEAST_SPEECH:
        only = [request(samples, base, options, speech)]
        del samples  # nobody needs them once they are encoded: 2 MB for 30 s
        result = yield only.pop()
        return _outcome(result, speech, base, ())
    if base.task == "translate" and (choice.chances or choice.language not in (None, base.language)):
        told = yield from decode(samples, replace(base, task="transcribe"), options, speech, choice)
        spoken = replace(base, language=told.result.language)
        result = yield request(samples, spoken, options, speech)
        return _outcome(result, speech, spoken, (*told.others, hypothesis("transcribed", told.result)))
    tried: list[str | None] = list(choice.chances)
    if not tried:
        tried = list(dict.fromkeys((base.language, choice.language or base.language)))
    greedy = replace(base, search=False, prompt=None) if choice.chances else base
    results = yield from _in_each(tried, samples, greedy, options, speech)
    chances = choice.chances or dict(results[0].languages)
    if not choice.chances and speech >= ENOUGH_SPEECH:
        heard = _heard_instead(chances, tried, choice.allowed)
        results += yield from _in_each(heard, samples, base, options, speech)
    best = max(results, key=lambda result: _score(result, chances))
    others = tuple(hypothesis(f"in {r.language}", r) for r in results if r is not best)
    if greedy != base:
        best = yield request(samples, replace(base, language=best.language), options, speech)
    return _outcome(best, speech, base, others)


def _outcome(
    result: WindowResult, speech: float, base: DecodeOptions, others: tuple[Hypothesis, ...]
) -> Outcome:
    for reason, mend in (("repeated behind the audio", within_audio), ("punctuation alone", with_letters)):
        mended = mend(result)
        if mended is not result:
            others = (*others, hypothesis(reason, result))
        result = mended
    return Outcome(result, judge(result, speech, base.prompt), others)


def _heard_instead(
    chances: Mapping[str, float], tried: Sequence[str | None], allowed: Iterable[str]
) -> list[str]:
    """The language other than those tried that a window is probably spoken in, if there is one."""
    wanted = (set(allowed) or chances.keys()) - set(tried)
    return [code for code, chance in chances.items() if chance >= SECOND_LANGUAGE and code in wanted]


def _score(result: WindowResult, chances: Mapping[str, float]) -> tuple[bool, float]:
    """Texts with a loop come last: each round of it is likelier than the one before."""
    if math.isnan(result.avg_logprob):
        return False, -math.inf
    chance = max(chances.get(result.language or "", 0.0), LEAST_CHANCE)
    return not is_repetitive(result), result.avg_logprob + CHANCE_WEIGHT * math.log(chance)


def _in_each(
    languages: Iterable[str | None],
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
) -> Generator[DecodeRequest, WindowResult, list[WindowResult]]:
    results: list[WindowResult] = []
    for code in languages:
        result = yield request(samples, replace(base, language=code), options, speech)
        results.append(result)
    return results
