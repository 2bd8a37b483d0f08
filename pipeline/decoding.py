"""The first decoding of a window, in the language of the row or in the most likely of several."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, Samples, WindowResult
from asr_batch.pipeline.guards import (
    DecodeRequest,
    Outcome,
    echoes,
    hypothesis,
    is_repetitive,
    judge,
    request,
    shown_only,
    with_letters,
    within_audio,
)
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.thresholds import (
    ALSO_SPOKEN,
    BEST_LOGPROB,
    CHANCE_WEIGHT,
    CLOSE_TEXTS,
    ENOUGH_SPEECH,
    ENOUGH_TO_TELL,
    HARDLY,
    LEAST_CHANCE,
    LEAST_SPEECH,
    MOST_LANGUAGES,
    NO_SPEECH,
    NOT_SPOKEN,
    OTHER_TOKENS,
    POOR_LOGPROB,
    SECOND_LANGUAGE,
    SILENT_SECONDS,
    SURE_CHANCE,
)
from asr_batch.pipeline.unspoken import Witnesses

Decoding = Generator[Sequence[DecodeRequest], Sequence[WindowResult], Outcome]
"""Yields requests and receives a result for each: further attempts are entries of the running batch."""


class Detects(Protocol):
    """Detects languages, as `Recognizer.detect_language` does."""

    def __call__(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Probability of each language in each window."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A row whose language was detected, not given.

    `language`: the main one of the row, decoded as well where another one is detected, as detection may err;
    `spoken`: all that the row is spoken in. None: each window has its own, one of `allowed` (empty: any),
    which `detect` tells where it is unclear.
    """

    language: str | None = None
    spoken: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    detect: Detects | None = None


def decode(
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
    choice: Choice | None,
    *,
    second: bool = False,
) -> Decoding:
    """Decode one window that has `speech` seconds of speech (by Silero); `second`: with the second model.

    A prompt may change words, but must not put any where nobody speaks: over music, models write it down,
    as sure of it as of speech. So it is not shown where Silero detects hardly any speech. Elsewhere, if the
    text may be its work, the window is decoded without it too; if nobody is heard then, nothing stays.
    """
    if not base.prompt or speech < HARDLY:
        plain = _decode(samples, replace(base, prompt=None), options, speech, choice, second)
        del samples
        outcome = yield from plain
        return replace(outcome, prompted=False)
    outcome = yield from _decode(samples, base, options, speech, choice, second)
    if not _may_be_shown(outcome.result, base.prompt, speech):
        return outcome
    alone = replace(base, prompt=None, language=outcome.result.language or base.language)
    (result,) = yield [request(samples, alone, options, speech, second)]
    others = (*outcome.others, hypothesis("with the prompt", outcome.result))
    told = _outcome(replace(result, languages=outcome.result.languages), speech, alone, others)
    nobody = Witnesses(told.result, told.flags, speech, speech, len(samples) / SAMPLE_RATE).deny()
    return replace(told, prompted=False) if nobody or not told.result.text else outcome


def _may_be_shown(result: WindowResult, prompt: str, speech: float) -> bool:
    """Whether a text may be the work of its prompt, or nobody may be speaking."""
    text = result.text
    shown = echoes(text, prompt) or shown_only(text, prompt)
    return bool(text) and (shown or speech < SILENT_SECONDS or result.no_speech_prob >= NO_SPEECH)


def _decode(
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
    choice: Choice | None,
    second: bool,
) -> Decoding:
    """Decode one window.

    Without a language, it is decoded in the one that the decoder detects; if that is unclear, in several. If
    the decoder detects another one than the row's, in both. The most likely text wins, with a small weight
    for the probability of its language; in another one than the row's it must be clearly likelier.
    """
    if base.language is None and choice is not None and choice.detect is not None:
        return (yield from _in_its_own(samples, base, options, speech, choice.allowed, choice.detect))
    if choice is None or speech < LEAST_SPEECH:
        only = [[request(samples, base, options, speech, second)]]
        del samples  # nobody needs them once they are encoded: 2 MB for 30 s
        (result,) = yield only.pop()
        return _outcome(result, speech, base, ())
    if base.task == "translate" and choice.language not in (None, base.language):
        told = yield from _decode(samples, replace(base, task="transcribe"), options, speech, choice, second)
        spoken = replace(base, language=told.result.language)
        (result,) = yield [request(samples, spoken, options, speech)]
        return _outcome(result, speech, spoken, (*told.others, hypothesis("transcribed", told.result)))
    tried = list(dict.fromkeys((base.language, choice.language or base.language)))
    results = yield from _in_each(tried, samples, base, options, speech)
    chances = dict(results[0].languages)
    if speech >= ENOUGH_SPEECH:
        heard = _heard_instead(chances, tried, choice.allowed)
        results += yield from _in_each(heard, samples, base, options, speech)
    best = max(results, key=lambda result: _score(result, chances, choice))
    return _outcome(best, speech, base, _others(results, best))


def _in_its_own(
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
    allowed: tuple[str, ...],
    detect: Detects,
) -> Decoding:
    """Decode a window in the language that is detected in it, or in the one with the most likely text.

    A prompt makes its language likely, and a translation says little about the language spoken: so with these
    the language is detected before, and candidates are transcribed without the prompt.
    """
    plain, chances = replace(base, prompt=None, task="transcribe"), {}
    first = replace(base, among=allowed)
    if base != plain:
        (chances,) = detect([samples], allowed)
        first = replace(base if _is_clear(chances, speech) else plain, language=_ranked(chances)[0][0])
    asked = request(samples, first, options, speech)
    (result,) = yield [asked]
    chances = chances or dict(result.languages)
    results = {result.language: result}
    if not _is_clear(chances, speech):
        yield from _compare(results, chances, samples, plain, options, speech)
        if _is_close(results.values(), chances):
            (chances,) = detect([samples], allowed, whole=True)
            yield from _compare(results, chances, samples, plain, options, speech)
    best = max(results.values(), key=lambda one: _score(one, chances))
    others = _others(results.values(), best)
    spoken = replace(base, language=best.language)
    wanted = request(samples, spoken, options, speech)
    if best is not result or _differs(asked.options, wanted.options, result):
        (best,) = yield [wanted]
    return _outcome(replace(best, languages=_ranked(chances)), speech, spoken, others)


def _differs(asked: DecodeOptions, wanted: DecodeOptions, result: WindowResult) -> bool:
    """Whether the result would be another one with the options for its language, known only now."""
    asked = replace(asked, language=wanted.language, among=())
    if not result.truncated:  # and so not by the number of tokens
        asked = replace(asked, max_new_tokens=wanted.max_new_tokens)
    return asked != wanted


def _compare(
    results: dict[str | None, WindowResult],
    chances: Mapping[str, float],
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
) -> Generator[Sequence[DecodeRequest], Sequence[WindowResult], None]:
    """Add greedy results in the other likely languages that may have the likeliest text, all at once."""
    best = max(results.values(), key=lambda result: _score(result, chances))
    hopeless = best.avg_logprob * OTHER_TOKENS * (len(best.tokens) + 1)
    other = replace(base, search=False, least_logprob=hopeless)
    likely = [(code, chance) for code, chance in _ranked(chances)[:MOST_LANGUAGES] if chance >= LEAST_CHANCE]
    codes = [
        code
        for code, chance in likely
        if code not in results
        and _score(best, chances) < (True, BEST_LOGPROB + CHANCE_WEIGHT * math.log(chance))
    ]
    if codes:
        found = yield [request(samples, replace(other, language=code), options, speech) for code in codes]
        results.update(zip(codes, found, strict=True))


def _is_clear(chances: Mapping[str, float], speech: float) -> bool:
    """Whether the most likely language needs no text to confirm it."""
    return speech < ENOUGH_TO_TELL or clarity(chances) >= SURE_CHANCE


def clarity(chances: Mapping[str, float]) -> float:
    """The probability of the most likely language; 1 without any."""
    return max(chances.values(), default=1.0)


def _is_close(results: Iterable[WindowResult], chances: Mapping[str, float]) -> bool:
    """Whether the texts leave the language open: none is likely, or two are alike."""
    scores = sorted((_score(result, chances) for result in results), reverse=True)
    likeliest = max(result.avg_logprob for result in results)
    alike = len(scores) > 1 and scores[1][0] and scores[0][1] - scores[1][1] < CLOSE_TEXTS
    return alike or not likeliest >= POOR_LOGPROB


def _ranked(chances: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(chances.items(), key=lambda one: (-one[1], one[0])))


def _others(results: Iterable[WindowResult], best: WindowResult) -> tuple[Hypothesis, ...]:
    return tuple(hypothesis(f"in {r.language}", r) for r in results if r is not best)


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


def _score(
    result: WindowResult, chances: Mapping[str, float], row: Choice | None = None
) -> tuple[bool, float]:
    """Texts with a loop come last: each round of it is likelier than the one before."""
    if math.isnan(result.avg_logprob):
        return False, -math.inf
    chance = max(chances.get(result.language or "", 0.0), LEAST_CHANCE)
    score = result.avg_logprob + CHANCE_WEIGHT * math.log(chance)
    if row is not None and result.language != row.language:
        score -= ALSO_SPOKEN if result.language in row.spoken else NOT_SPOKEN
    return not is_repetitive(result), score


def _in_each(
    languages: Iterable[str | None],
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
) -> Generator[Sequence[DecodeRequest], Sequence[WindowResult], list[WindowResult]]:
    asked = [request(samples, replace(base, language=code), options, speech) for code in languages]
    return list((yield asked)) if asked else []


def one_by_one(decoding: Decoding) -> Generator[DecodeRequest, WindowResult, Outcome]:
    """The same, for a caller that decodes one request after the other."""
    try:
        asked = next(decoding)
        while True:
            results = []
            for one in asked:
                results += [(yield one)]
            asked = decoding.send(results)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
