"""Converts timestamp tokens to timed pieces of text."""

from __future__ import annotations

from collections.abc import Sequence

from asr_batch.models.recognizer import TimedText
from asr_batch.models.whisper.tokenizer import WhisperTokenizer

_STEP = 0.02  # seconds between two timestamp tokens, in every Whisper
_SLACK = 0.5  # seconds an end may lie beyond the audio: the model rounds up over trailing silence


def timed_segments(
    tokens: Sequence[int], tokenizer: WhisperTokenizer, begin: int, duration: float
) -> tuple[TimedText, ...]:
    """Pieces of text between timestamps, in seconds from the window's start.

    `begin` is the id of `<|0.00|>`, `duration` the window's length in seconds. Returns () if the timestamps
    are inconsistent: text outside a pair, or times that run backwards or past the end.
    """
    pieces: list[TimedText] = []
    start: float | None = None
    text: list[int] = []
    for token in tokens:
        if token < begin:
            text.append(token)
        elif text:
            if start is None:
                return ()
            pieces.append(TimedText(start, (token - begin) * _STEP, tokenizer.decode(text).strip()))
            start, text = None, []
        else:
            start = (token - begin) * _STEP
    if text:
        if start is None:
            return ()
        pieces.append(TimedText(start, duration, tokenizer.decode(text).strip()))
    return _clamped(pieces, duration)


def _clamped(pieces: Sequence[TimedText], duration: float) -> tuple[TimedText, ...]:
    times = [time for piece in pieces for time in (piece.start, piece.end)]
    if times != sorted(times) or (times and times[-1] > duration + _SLACK):
        return ()
    return tuple(TimedText(min(p.start, duration), min(p.end, duration), p.text) for p in pieces)
