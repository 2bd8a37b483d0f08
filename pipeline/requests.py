"""What a window asks of a recognizer: its samples at a normal level, and the options of a decoding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, Samples
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask, percentile
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.words import LATIN
from asr_batch.pipeline.thresholds import LEAST_SPEECH

_FAINT, _ORDINARY, _MOST_GAIN = -34.0, -20.0, 50.0  # dBFS, dBFS, dB
_TOKENS_LATIN, _TOKENS_OTHER, _TOKENS_MORE = 6, 15, 16  # per second, per second, constant


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """A requested decoding; `second`: by the second model."""

    samples: Samples
    options: DecodeOptions
    second: bool = False


def token_cap(seconds: float, language: str | None, limit: int | None) -> int:
    """Maximum number of tokens for this much speech; never above `limit` (--max-new-tokens)."""
    rate = _TOKENS_LATIN if language is None or language in LATIN else _TOKENS_OTHER
    cap = math.ceil(rate * seconds) + _TOKENS_MORE
    return cap if limit is None else min(cap, limit)


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
