"""Turns a finished decoding into a `WindowResult`, for every Whisper recognizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import SAMPLE_RATE, TimedText, TimedWord, WindowRequest, WindowResult
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.places import word_places
from asr_batch.models.whisper.rules import Decoding
from asr_batch.models.whisper.timestamps import timed_segments
from asr_batch.models.whisper.tokenizer import WhisperTokenizer


def window_result(
    request: WindowRequest,
    state: Decoding,
    config: WhisperConfig,
    tokenizer: WhisperTokenizer,
    *,
    error: str | None,
    words: tuple[TimedWord, ...] | None = None,
    listened: Sequence[NDArray[np.float32]] = (),
    backend: str = "cpu",
    batch: int = 0,
    flags: tuple[str, ...] = (),
    arithmetic: str = "graphs",
    recurring_doubt: float = 0.0,
) -> WindowResult:
    """The result of `request` from its decoding `state`; with an `error` it has no text.

    `listened`: the attention over the window for each token and end-of-text (:mod:`places`).
    """
    begin, samples = config.timestamp_begin, len(request.samples)
    places: tuple[TimedText, ...] = ()
    if error is None and not request.options.plain:
        places = word_places(listened, state.tokens, tokenizer, samples)
    timed = request.options.timestamps and begin is not None and error is None
    return WindowResult(
        key=request.key,
        text="" if error else tokenizer.decode(state.tokens).strip(),
        tokens=tuple(state.tokens),
        avg_logprob=state.avg_logprob,
        no_speech_prob=state.no_speech_prob,
        truncated=state.truncated,
        languages=state.languages,
        language=state.options.language or (None if config.multilingual else "en"),
        segments=timed_segments(state.tokens, tokenizer, begin or 0, samples / SAMPLE_RATE) if timed else (),
        words=words,
        places=places,
        encoder_backend=backend,
        batch=batch,
        flags=flags,
        error=error,
        arithmetic=arithmetic,
        first_logprob=_first_logprob(state, begin),
        recurring_doubt=recurring_doubt,
    )


def _first_logprob(state: Decoding, timestamp_begin: int | None) -> float:
    """Log-probability of the first token that is no timestamp."""
    pairs = zip(state.tokens, state.logprobs, strict=False)  # beams keep no log-probabilities of tokens
    found = (value for token, value in pairs if timestamp_begin is None or token < timestamp_begin)
    return next(found, math.nan)
