"""Checks of a decoded window, and what is kept if they fail."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask, percentile
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.repetition import (
    before_letters_loop,
    compression_ratio,
    doubled,
    is_loop,
    loop_of,
)
from asr_batch.pipeline.text.wordless import is_cry, is_haha
from asr_batch.pipeline.text.words import LATIN, join_texts, normal, normal_words, words_between, words_of
from asr_batch.pipeline.thresholds import (
    AGAIN,
    DENSEST,
    DENSEST_TWICE,
    ECHO,
    LEAST_SPEECH,
    LOGPROB,
    NO_SPEECH,
)

_FAINT, _ORDINARY, _MOST_GAIN = -34.0, -20.0, 50.0  # dBFS, dBFS, dB
_TOKENS_LATIN, _TOKENS_OTHER, _TOKENS_MORE = 6, 15, 16  # per second, per second, constant

_UNTIMED: dict[str, Any] = {"segments": (), "words": None, "places": ()}

WHOLE = frozenset({"failed", "repetition", "truncated", "prompt_echo"})
"""Faults of a window as a whole."""

ENDLESS = frozenset({"repetition", "truncated"})
"""Faults of a text with a loop that only the token limit ended: nobody speaks that much."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """A requested decoding; `second`: by the second model."""

    samples: Samples
    options: DecodeOptions
    second: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a window: the accepted result, flags, the other hypotheses.

    `result` has its `error` set if no attempt gave anything usable. `prompted`: whether the prompt has a say
    in its text.
    """

    result: WindowResult
    flags: frozenset[str] = frozenset()
    others: tuple[Hypothesis, ...] = ()
    prompted: bool = True


def hypothesis(source: str, result: WindowResult) -> Hypothesis:
    """A result as stored in windows/."""
    return Hypothesis(
        source, result.text, result.avg_logprob, compression_ratio(result.text), result.temperature
    )


def of_language(result: WindowResult) -> Hypothesis:
    """A result in a language that a window may be spoken in."""
    return hypothesis(f"in {result.language}", result)


def is_repetitive(result: WindowResult) -> bool:
    """Whether the text repeats itself more than speech does."""
    return "repetition" in result.flags or is_loop(result.text)


def echoes(text: str, prompt: str | None) -> bool:
    """Whether the text repeats consecutive words of its prompt."""
    if not prompt:
        return False
    shown, said = normal_words(prompt), normal_words(text)
    known = {tuple(shown[i : i + ECHO]) for i in range(len(shown) - ECHO + 1)}
    return any(tuple(said[i : i + ECHO]) in known for i in range(len(said) - ECHO + 1))


def shown_only(text: str, prompt: str | None) -> bool:
    """Whether each word of the text is one of its prompt's."""
    return set(normal_words(text)) <= set(normal_words(prompt or ""))


def letters(text: str) -> int:
    """Number of letters and digits: a steadier measure of the amount of speech than words."""
    return sum(character.isalnum() for character in text)


def token_cap(seconds: float, language: str | None, limit: int | None) -> int:
    """Maximum number of tokens for this much speech; never above `limit` (--max-new-tokens)."""
    rate = _TOKENS_LATIN if language is None or language in LATIN else _TOKENS_OTHER
    cap = math.ceil(rate * seconds) + _TOKENS_MORE
    return cap if limit is None else min(cap, limit)


def judge(result: WindowResult, speech: float, prompt: str | None = None) -> frozenset[str]:
    """Names of the guards that the result fails; empty if it passes. `speech`: seconds by Silero."""
    if result.error is not None:
        return frozenset({"failed"})
    faults = set()
    if is_repetitive(result):
        faults.add("repetition")
    if math.isnan(result.avg_logprob) or (words_of(result.text) and result.avg_logprob < LOGPROB):
        faults.add("low_logprob")
    if result.truncated:
        faults.add("truncated")
    most = DENSEST_TWICE if doubled(result.text) else DENSEST
    if speech >= LEAST_SPEECH / 2 and letters(result.text) / speech > most:
        faults.add("too_dense")
    if echoes(result.text, prompt):
        faults.add("prompt_echo")
    return frozenset(faults)


def without_loop(result: WindowResult) -> WindowResult:
    """The result up to the end of the first round of its loop; unchanged without a loop."""
    found = loop_of(result.text)
    if found is not None:
        return first_words(result, found[1])
    text = before_letters_loop(result.text)
    return replace(result, text=text, **_UNTIMED) if text != result.text else result


def cut_loop(outcome: Outcome) -> Outcome:
    """The outcome up to the end of the first round of its loop; unchanged without a loop.

    Nothing is left of one word again and again, as for laughter, if the model itself doubts that anybody
    speaks, or if it is an interjection. A sentence said twenty times may have any no-speech probability.
    """
    cut = without_loop(outcome.result)
    if cut is outcome.result:
        return outcome
    doubted = cut.no_speech_prob >= NO_SPEECH or is_cry(cut.text) or is_haha(cut.text)
    if outcome.flags >= ENDLESS and len(words_of(cut.text)) == 1 and doubted:
        cut = first_words(outcome.result, 0)
    others = (*outcome.others, hypothesis("looped", outcome.result))
    return replace(outcome, result=cut, flags=outcome.flags - {"too_dense"}, others=others)


def within_audio(result: WindowResult) -> WindowResult:
    """The result without words at its end that repeat those before them, but have hardly any audio.

    Silence follows a window where its audio ended, and a decoder may find the last sentence in it once more.
    A sentence really said twice has its second half in the audio.
    """
    places, said = result.places, [normal(place.text) for place in result.places]
    for count in range(len(said) // 2, 0, -1):
        first, before = len(said) - count, len(said) - 2 * count
        taken = places[first].start - places[before].start
        again = places[-1].end - places[first].start
        if said[before:first] == said[first:] and taken > 0 and again <= AGAIN * taken:
            return first_words(result, first)
    return result


def with_letters(result: WindowResult) -> WindowResult:
    """The result without its text if that is punctuation alone."""
    return replace(result, text="", **_UNTIMED) if result.text and not letters(result.text) else result


def first_words(result: WindowResult, count: int) -> WindowResult:
    """The result with the first `count` words of its text."""
    total = len(words_of(result.text))
    return replace(
        result,
        text=words_between(result.text, 0, count),
        segments=(),
        words=result.words[:count] if result.words and len(result.words) == total else None,
        places=result.places[:count] if len(result.places) == total else (),
    )


def without_words(result: WindowResult, dropped: Collection[int]) -> WindowResult:
    """The result without the words with these indices; `places` must be known."""
    kept = [index for index in range(len(result.places)) if index not in dropped]
    timed = result.words if result.words and len(result.words) == len(result.places) else None
    return replace(
        result,
        text=join_texts(result.places[index].text for index in kept),
        places=tuple(result.places[index] for index in kept),
        words=tuple(timed[index] for index in kept) if timed else None,
        segments=(),
    )


def prepared(samples: Samples, level: Float32, heard: Mask) -> Samples:
    """The samples for the model: faint speech is amplified to a normal level.

    Whisper's features keep the absolute level of a window; speech far below the level of the training data
    costs words.
    """
    if np.count_nonzero(heard) < LEAST_SPEECH * FRAMES_PER_SECOND:
        return samples
    loud = float(percentile(level[heard[: len(level)]], 75))
    if loud >= _FAINT:
        return samples
    gain = min(_ORDINARY - loud, _MOST_GAIN)
    raised: Samples = np.clip(samples * np.float32(10 ** (gain / 20)), -1, 1)
    return raised


def request(
    samples: Samples, base: DecodeOptions, options: PipelineOptions, speech: float, second: bool = False
) -> DecodeRequest:
    """The request to decode these samples, which have `speech` seconds of speech."""
    seconds = len(samples) / SAMPLE_RATE
    cap = token_cap(seconds, base.language, options.max_new_tokens)
    speaks = True if speech >= LEAST_SPEECH else None
    return DecodeRequest(samples, replace(base, max_new_tokens=cap, suppress_first_eot=speaks), second)
