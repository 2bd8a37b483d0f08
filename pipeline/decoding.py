"""The first decoding of a window, in the language of the row or in the most likely of several."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import DecodeOptions, Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAME, levels
from asr_batch.pipeline.audio.rounds import rounds
from asr_batch.pipeline.choice import (
    Choice,
    Detects,
    heard_instead,
    hopeless,
    is_a_guess,
    is_clear,
    is_close,
    ranked,
    score,
    worth_trying,
)
from asr_batch.pipeline.guards import WHOLE, is_repetitive, judge, shown_only
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome, hypothesis, of_language, with_letters, within_audio
from asr_batch.pipeline.requests import DecodeRequest, request
from asr_batch.pipeline.thresholds import (
    ENOUGH_SPEECH,
    ENOUGH_TO_TELL,
    HARDLY,
    LEAST_SPEECH,
    NO_SPEECH,
    SILENT_SECONDS,
    SWAYABLE,
    SWAYED,
)
from asr_batch.pipeline.unspoken import Witnesses

Decoding = Generator[Sequence[DecodeRequest], Sequence[WindowResult], Outcome]
"""Yields requests and receives a result for each: further attempts are entries of the running batch."""


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
    text may be its work, the window is decoded without it too; if nobody is heard then, nothing stays. Nor
    does an unlikely text that is clearly less likely than the one without the prompt: a long one in another
    language makes models translate.
    """
    if not base.prompt or speech < HARDLY:
        plain = _decode(samples, replace(base, prompt=None), options, speech, choice, second)
        del samples
        outcome = yield from plain
        return replace(outcome, prompted=False)
    outcome = yield from _decode(samples, base, options, speech, choice, second)
    if not _may_be_shown(outcome, base.prompt, speech):
        return outcome
    language = outcome.result.language or base.language
    alone = replace(base, prompt=None, language=language, draft=outcome.result.tokens)
    (result,) = yield [request(samples, alone, options, speech, second)]
    others = (*outcome.others, hypothesis("with the prompt", outcome.result))
    told = _outcome(replace(result, languages=outcome.result.languages), speech, alone, others)
    nobody = Witnesses.of_part(told.result, speech).deny()
    swayed = told.result.avg_logprob >= outcome.result.avg_logprob + SWAYED and not told.flags & WHOLE
    return replace(told, prompted=False) if nobody or swayed or not told.result.text else outcome


def decode_plain(
    samples: Samples, base: DecodeOptions, options: PipelineOptions, choice: Choice | None
) -> Decoding:
    """One greedy pass over a window (`--plain`); a model with a fixed length pads it with zeros itself.

    If no language is given, the window is decoded in its most likely one.
    """
    asked = replace(base, plain=True, max_new_tokens=options.max_new_tokens)
    if choice is not None:
        asked = replace(asked, among=choice.allowed)
    (result,) = yield [DecodeRequest(samples, asked)]
    heard = result.languages[0][0] if result.languages and choice is not None else None
    if heard not in (None, asked.language) and heard in (options.languages or (heard,)):
        (result,) = yield [DecodeRequest(samples, replace(asked, language=heard))]
    flags = {"truncated"} if result.truncated else set()
    return Outcome(result, frozenset(flags | ({"failed"} if result.error else set())))


def _may_be_shown(outcome: Outcome, prompt: str, speech: float) -> bool:
    """Whether a text may be the work of its prompt, or nobody may be speaking."""
    result = outcome.result
    shown = "prompt_echo" in outcome.flags or shown_only(result.text, prompt)
    shown = shown or result.avg_logprob < SWAYABLE
    return bool(result.text) and (shown or speech < SILENT_SECONDS or result.no_speech_prob >= NO_SPEECH)


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
        heard = heard_instead(chances, tried, choice.allowed)
        results += yield from _in_each(heard, samples, base, options, speech)
    best = max(results, key=lambda result: score(result, chances, choice))
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
        first = replace(base if is_clear(chances, speech) else plain, language=ranked(chances)[0][0])
    asked = request(samples, first, options, speech)
    (result,) = yield [asked]
    chances = chances or dict(result.languages)
    results, code = {result.language: result}, result.language
    if not is_clear(chances, speech):
        yield from _compare(results, chances, samples, plain, options, speech)
        if is_close(results.values(), chances):
            (chances,) = detect([samples], allowed, whole=True)
            yield from _compare(results, chances, samples, plain, options, speech)
        code = max(results.values(), key=lambda one: score(one, chances)).language
        if any(map(is_repetitive, results.values())) and (said := _said_once(samples, speech)):
            told = yield from _in_its_own(said[0], plain, options, said[1], allowed, detect)
            code = told.result.language
    elif is_a_guess(chances, speech):
        (chances,) = detect([samples], allowed, whole=True)
        code = ranked(chances)[0][0]
    best = results.get(code)
    others = _others(results.values(), best)
    spoken = replace(base, language=code)
    wanted = request(samples, spoken, options, speech)
    if best is None or best is not result or _differs(asked.options, wanted.options, result):
        (best,) = yield [wanted]
    return _outcome(replace(best, languages=ranked(chances)), speech, spoken, others)


def _said_once(samples: Samples, speech: float) -> tuple[Samples, float] | None:
    """One round of what the sound says again and again, and its seconds of speech; None if too brief to tell.

    In the whole, the right text may count as a loop, and that in a wrong language not.
    """
    parts = list(pairwise(rounds(samples, levels(samples))))
    first, last = max(parts, key=lambda part: part[1] - part[0])
    said = speech * (last - first) * FRAME / len(samples)
    return (
        (samples[first * FRAME : last * FRAME], said) if len(parts) > 1 and said >= ENOUGH_TO_TELL else None
    )


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
    best = max(results.values(), key=lambda result: score(result, chances))
    codes = [code for code in worth_trying(best, chances) if code not in results]
    if codes:
        tried = [
            replace(base, language=code, search=False, least_logprob=hopeless(best, chances, code))
            for code in codes
        ]
        found = yield [request(samples, one, options, speech) for one in tried]
        results.update(zip(codes, found, strict=True))


def _others(results: Iterable[WindowResult], best: WindowResult | None) -> tuple[Hypothesis, ...]:
    return tuple(of_language(result) for result in results if result is not best)


def _outcome(
    result: WindowResult, speech: float, base: DecodeOptions, others: tuple[Hypothesis, ...]
) -> Outcome:
    for reason, mend in (("repeated behind the audio", within_audio), ("punctuation alone", with_letters)):
        mended = mend(result)
        if mended is not result:
            others = (*others, hypothesis(reason, result))
        result = mended
    return Outcome(result, judge(result, speech, base.prompt), others)


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
