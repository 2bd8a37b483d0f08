"""A strategy for brief windows: the same speech between more silence."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples, WindowResult
from asr_batch.pipeline.requests import DecodeRequest, request
from asr_batch.pipeline.retry.doubtful import (
    SPOILT,
    Attempt,
    Doubtful,
    heard_whole,
    is_sound,
    kept_aside,
    taken,
)
from asr_batch.pipeline.retry.hearing import Hearing, Listener
from asr_batch.pipeline.thresholds import BEFORE, BRIEF, SURROUNDED, UNCLEAR


def in_other_surroundings(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode a brief window after some silence and before more: the more likely text wins.

    What a model makes of a short, unclear utterance depends on the silence around it.
    """
    hearing = yield from _surrounded(window, samples, listener)
    likelier = hearing.result.avg_logprob > window.outcome.result.avg_logprob
    if not (likelier and is_sound(hearing)):
        return kept_aside(window, "other surroundings", hearing)
    mended = taken(window, hearing)
    flags = mended.outcome.flags | (hearing.faults & {"low_logprob"})
    return replace(mended, outcome=replace(mended.outcome, flags=flags))


def _surrounded(
    window: Doubtful, samples: Samples, listener: Listener
) -> Generator[DecodeRequest, WindowResult, Hearing]:
    longest = round(listener.longest * SAMPLE_RATE)
    first = max(0, min(round(BEFORE * SAMPLE_RATE), longest - len(samples)))
    behind = max(0, min(round(SURROUNDED * SAMPLE_RATE), longest) - first - len(samples))
    asked = request(samples, listener.base, listener.options, window.spoken)
    result = yield replace(asked, samples=np.pad(samples, (first, behind)))
    return heard_whole(window, result, listener.base.prompt, first / SAMPLE_RATE)


def is_unclear(window: Doubtful, _: Listener) -> bool:
    """Whether a brief window has a text that is sound but not likely."""
    result = window.outcome.result
    sound = bool(result.text) and not (window.unheard or window.confirmed or window.outcome.flags & SPOILT)
    return sound and window.seconds < BRIEF and result.avg_logprob < UNCLEAR


def seconds_surrounded(window: Doubtful) -> float:
    """Seconds that it takes."""
    return max(BEFORE + window.seconds, SURROUNDED)
