"""Counts how often a window's text says the same thing, and how often that was said.

Decoders are unsure of the number: whisper-base writes "8 8 8 8 8 8 8" for five, and "2020" for two twenties.
Pauses tell it.
"""

from __future__ import annotations

from asr_batch.pipeline.audio.frames import Float32, Mask
from asr_batch.pipeline.retry.hearing import utterances
from asr_batch.pipeline.text.words import normal_words
from asr_batch.pipeline.thresholds import SHORT_PAUSE


def rounds(text: str) -> tuple[str, int]:
    """The letters of the shortest phrase or word that the whole text repeats, and how often."""
    letters = "".join(normal_words(text))
    for length in range(1, len(letters) // 2 + 1):
        times, rest = divmod(len(letters), length)
        if not rest and letters == letters[:length] * times:
            return letters[:length], times
    return letters, min(1, len(letters))


def miscounted(text: str, level: Float32, speech: Mask) -> bool:
    """Whether the text is one phrase or word again and again, but not once for each utterance.

    Several rounds without a pause between them cannot be counted.
    """
    times = rounds(text)[1]
    if times < 2:
        return False
    said = len(utterances(level, speech, SHORT_PAUSE, 0, len(level))) - 1
    return 1 < said != times


def counted_better(text: str, before: str, level: Float32, speech: Mask) -> bool:
    """Whether the text says the same as the one before, nearer to once for each utterance."""
    (now, times), (then, first) = rounds(text), rounds(before)
    said = len(utterances(level, speech, SHORT_PAUSE, 0, len(level))) - 1
    return now == then and abs(times - said) < abs(first - said)
