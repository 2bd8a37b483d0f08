"""Decoding guards of one window: what a result must pass, and the temperature ladder when it does not.

A window's decoding is a generator: it yields an :class:`Ask`, is sent the :class:`WindowResult`, and returns
an :class:`Outcome`. So a second try is only another entry of the batch that is running.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import numpy as np

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask, percentile
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.words import LATIN, normal_words, words_of

SPEAKS = 0.3
"""Seconds of speech (by Silero) from which a window may not come back empty unnoticed."""

_MOST_LETTERS = 24  # a second of speech; the fastest clips of the development set have 19
_MOST_DOUBLED = 12  # the same where the text is one thing said twice
_FAINT, _ORDINARY, _MOST_GAIN = -34.0, -20.0, 50.0  # dBFS, dBFS, dB
_TOKENS_LATIN, _TOKENS_OTHER, _TOKENS_MORE = 6, 15, 16  # a second, a second, and a constant
_LOOP_SPAN, _LOOP_TIMES = 6, 4  # words of a phrase, times in a row


@dataclass(frozen=True, slots=True)
class Ask:
    """One decoding that is wanted; `second`: by the second model."""

    samples: Samples
    options: DecodeOptions
    second: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a window: the result that stands, flags, the other hypotheses.

    `result` has its `error` set when no try gave anything usable.
    """

    result: WindowResult
    flags: frozenset[str] = frozenset()
    others: tuple[Hypothesis, ...] = ()


Decoding = Generator[Ask, WindowResult, Outcome]


@dataclass(frozen=True, slots=True)
class Try:
    """A result with what the guards find wrong in it."""

    source: str
    result: WindowResult
    faults: frozenset[str] = field(default_factory=frozenset)

    def hypothesis(self) -> Hypothesis:
        """The try as it is kept in windows/."""
        result = self.result
        return Hypothesis(
            self.source, result.text, result.avg_logprob, compression_ratio(result.text), result.temperature
        )


def compression_ratio(text: str) -> float:
    """How many times smaller zlib makes the text (Whisper's measure of repetition); 0 for no text."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def loops(text: str) -> bool:
    """Whether a phrase of up to six words stands four times in a row."""
    words = normal_words(text)
    for span in range(1, _LOOP_SPAN + 1):
        run = span * (_LOOP_TIMES - 1)
        same = 0
        for left, right in zip(words, words[span:], strict=False):
            same = same + 1 if left == right else 0
            # Numbers are read out digit by digit: "nine nine nine nine" is no loop yet.
            if same >= run + (4 if span == 1 else 0):
                return True
    return False


def doubled(text: str) -> bool:
    """Whether the text says one thing twice and nothing else, as decoders do with a single short word."""
    words = normal_words(text)
    half = len(words) // 2
    return half > 0 and words[:half] == words[half:]


def letters(text: str) -> int:
    """Letters and digits of a text: a steadier measure of how much was said than words."""
    return sum(character.isalnum() for character in text)


def token_cap(seconds: float, language: str | None, limit: int | None) -> int:
    """Most tokens that so much speech can need; never above `limit` (the option --max-new-tokens)."""
    rate = _TOKENS_LATIN if language is None or language in LATIN else _TOKENS_OTHER
    cap = math.ceil(rate * seconds) + _TOKENS_MORE
    return cap if limit is None else min(cap, limit)


def seed_of(*identity: object) -> int:
    """A seed that depends on what is decoded, never on when."""
    text = "\0".join(map(repr, identity))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).digest(), "big")


def judge(result: WindowResult, options: PipelineOptions, speech: float) -> frozenset[str]:
    """Names of the guards that the result fails; empty when it stands."""
    if result.error is not None:
        return frozenset({"failed"})
    faults = set()
    looped = "repetition" in result.flags or loops(result.text)
    if looped or compression_ratio(result.text) > options.compression_ratio_threshold:
        faults.add("repetition")
    quiet = result.no_speech_prob > options.no_speech_threshold and speech < SPEAKS
    if words_of(result.text) and result.avg_logprob < options.logprob_threshold and not quiet:
        faults.add("low_logprob")
    if math.isnan(result.avg_logprob):
        faults.add("low_logprob")
    if result.truncated:
        faults.add("truncated")
    twice = doubled(result.text)
    most = _MOST_DOUBLED if twice else _MOST_LETTERS
    if speech >= SPEAKS / 2 and letters(result.text) / speech > most:
        faults.add("too_dense")
    return frozenset(faults)


def prepared(samples: Samples, level: Float32, heard: Mask) -> Samples:
    """The window as the model hears it: faint speech is raised to an ordinary level.

    Whisper's features keep the absolute level of a window; speech far below what a model was trained on
    costs words (nano.en at -45 dBFS: 6.6 % more word errors without this, see docs/windows.md).
    """
    if np.count_nonzero(heard) < SPEAKS * FRAMES_PER_SECOND:
        return samples
    loud = float(percentile(level[heard[: len(level)]], 75))
    if loud >= _FAINT:
        return samples
    gain = min(_ORDINARY - loud, _MOST_GAIN)
    raised: Samples = np.clip(samples * np.float32(10 ** (gain / 20)), -1, 1)
    return raised


def decode(
    samples: Samples,
    base: DecodeOptions,
    options: PipelineOptions,
    speech: float,
    identity: tuple[object, ...],
) -> Decoding:
    """Decode one window, up the temperature ladder while a guard fails.

    `speech`: seconds of it that Silero holds to be speech. `identity` seeds the draws.
    """
    seconds = len(samples) / SAMPLE_RATE
    cap = token_cap(seconds, base.language, options.max_new_tokens)
    base = replace(base, max_new_tokens=cap, suppress_first_eot=True if speech >= SPEAKS else None)
    tries: list[Try] = []
    for temperature in options.temperatures or (0.0,):
        asked = replace(base, temperature=temperature, seed=seed_of(*identity, temperature))
        result = yield Ask(samples, asked)
        faults = judge(result, options, speech)
        tries.append(Try(f"temperature {temperature:g}", result, faults))
        if not faults or _hopeless(tries, speech):
            break
    return settle(tries)


def _hopeless(tries: list[Try], speech: float) -> bool:
    """No further try: nobody speaks here anyway, or the engine failed twice."""
    failures = sum("failed" in attempt.faults for attempt in tries)
    if tries[-1].faults == {"too_dense"}:
        return True  # a draw says something else, not less; the repair listens with other margins
    return failures >= 2 or (speech < SPEAKS and "failed" not in tries[-1].faults)


def settle(tries: list[Try]) -> Outcome:
    """The best of the tries: fewest faults, then the most probable, then the earliest."""

    def rank(attempt: Try) -> tuple[int, int, float]:
        logprob = attempt.result.avg_logprob
        serious = {"failed": 4, "repetition": 2, "truncated": 1}
        weight = sum(serious.get(fault, 0) for fault in attempt.faults)
        return weight, len(attempt.faults), math.inf if math.isnan(logprob) else -logprob

    best = min(tries, key=rank)
    flags = set(best.faults)
    if best is not tries[0] and not best.faults:
        flags.add("recovered")
    others = tuple(attempt.hypothesis() for attempt in tries if attempt is not best)
    return Outcome(best.result, frozenset(flags), others)
