"""The first decoding of a window, in the language of the row or in the most likely of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from asr_batch.models.recognizer import DecodeOptions, Samples, WindowResult
from asr_batch.pipeline.guards import DecodeRequest, Outcome, hypothesis, judge, request
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.thresholds import CHANCE_WEIGHT, LEAST_CHANCE, LEAST_SPEECH

Decoding = Generator[DecodeRequest, WindowResult, Outcome]
"""Yields requests and receives results: a further attempt is another entry of the running batch."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidate languages of a row with an unclear language; `detect` gives the probability of each
    language in a window.
    """

    languages: tuple[str, ...]
    detect: Callable[[Samples], Mapping[str, float]]


def decode(
    samples: Samples, base: DecodeOptions, options: PipelineOptions, speech: float, choice: Choice | None
) -> Decoding:
    """Decode one window that has `speech` seconds of speech (by Silero).

    If the row has several candidate languages, the most likely text wins, with a small weight for the
    probability of its language.
    """
    if choice is None or speech < LEAST_SPEECH:
        result = yield request(samples, base, options, speech)
        return Outcome(result, judge(result, speech, base.prompt))
    chances = choice.detect(samples)
    likely = [code for code in choice.languages if chances.get(code, 0.0) >= LEAST_CHANCE]
    tried = likely or [max(choice.languages, key=lambda code: chances.get(code, 0.0))]
    results = yield from _in_each(tried, samples, base, options, speech)

    def score(result: WindowResult) -> float:
        chance = chances.get(result.language or "", 0.0)
        bonus = CHANCE_WEIGHT * math.log(max(chance, 1e-6))
        return -math.inf if math.isnan(result.avg_logprob) else result.avg_logprob + bonus

    best = max(results, key=score)
    others = tuple(hypothesis(f"in {r.language}", r) for r in results if r is not best)
    return Outcome(best, judge(best, speech, base.prompt), others)


def _in_each(
    languages: Sequence[str], samples: Samples, base: DecodeOptions, options: PipelineOptions, speech: float
) -> Generator[DecodeRequest, WindowResult, list[WindowResult]]:
    results: list[WindowResult] = []
    for code in languages:
        result = yield request(samples, replace(base, language=code), options, speech)
        results.append(result)
    return results
