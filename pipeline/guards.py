"""Checks of a decoded window."""

from __future__ import annotations

import math

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.text.repetition import doubled, is_loop
from asr_batch.pipeline.text.words import letters, normal_words, words_of
from asr_batch.pipeline.thresholds import DENSEST, DENSEST_TWICE, ECHO, LEAST_SPEECH, LOGPROB

WHOLE = frozenset({"failed", "repetition", "truncated", "prompt_echo"})
"""Faults of a window as a whole."""

ENDLESS = frozenset({"repetition", "truncated"})
"""Faults of a text with a loop that only the token limit ended: nobody speaks that much."""


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
