"""A strategy for brief windows: the same speech between other lengths of silence, or quieter."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples, WindowResult
from asr_batch.pipeline.guards import DecodeRequest, judge, request, within_audio
from asr_batch.pipeline.retry.doubtful import SPOILT, Attempt, Doubtful, is_believable, kept_aside, taken
from asr_batch.pipeline.retry.hearing import Hearing, Listener, words_heard
from asr_batch.pipeline.thresholds import BRIEF, SURROUNDINGS, UNCLEAR


def in_other_surroundings(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode a brief window between more silence, and a quieter one: the likeliest text wins.

    What a model makes of a short, unclear utterance depends on the silence around it and on its level.
    """
    best: Hearing | None = None
    for before, whole, gain in SURROUNDINGS:
        hearing = yield from _surrounded(window, samples, listener, before, whole, gain)
        other: Hearing | None = hearing
        likeliest = (best or window.outcome).result.avg_logprob
        sound = is_believable(window, hearing) and not hearing.faults & SPOILT
        if sound and hearing.result.avg_logprob > likeliest:
            best, other = hearing, best
        if other is not None:
            window = kept_aside(window, "other surroundings", other)
    if best is None:
        return window
    mended = taken(window, best)
    flags = mended.outcome.flags | (best.faults & {"low_logprob"})
    return replace(mended, outcome=replace(mended.outcome, flags=flags))


def _surrounded(
    window: Doubtful, samples: Samples, listener: Listener, before: float, whole: float, gain: float
) -> Generator[DecodeRequest, WindowResult, Hearing]:
    """Decode the window after `before` seconds of silence, in `whole` seconds, and louder by `gain` dB."""
    longest = round(listener.longest * SAMPLE_RATE)
    first = max(0, min(round(before * SAMPLE_RATE), longest - len(samples)))
    behind = max(0, min(round(whole * SAMPLE_RATE), longest) - first - len(samples))
    padded: Samples = np.pad(samples * np.float32(10 ** (gain / 20)), (first, behind))
    asked = request(samples, listener.base, listener.options, window.spoken)
    result = within_audio((yield replace(asked, samples=padded)))
    words = words_heard(result, -first / SAMPLE_RATE, window.speech)
    return Hearing(result, tuple(words), judge(result, window.spoken, listener.base.prompt))


def is_unclear(window: Doubtful, _: Listener) -> bool:
    """Whether a brief window has a text that is sound but not likely."""
    result = window.outcome.result
    sound = bool(result.text) and not (window.unheard or window.confirmed or window.outcome.flags & SPOILT)
    return sound and window.seconds < BRIEF and result.avg_logprob < UNCLEAR


def seconds_of_surroundings(window: Doubtful) -> float:
    """Seconds that decoding in all other surroundings takes."""
    return sum(max(before + window.seconds, whole) for before, whole, _ in SURROUNDINGS)
