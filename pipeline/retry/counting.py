"""Counts how often a window's text says the same thing, and how often that was said.

Decoders are unsure of the number: whisper-base writes "8 8 8 8 8 8 8" for five, and "2020" for two twenties.
Pauses tell it.
"""

from __future__ import annotations

from collections.abc import Sequence

from asr_batch.pipeline.audio.frames import Float32, Mask
from asr_batch.pipeline.retry.hearing import utterances
from asr_batch.pipeline.retry.merging import Word, spelled
from asr_batch.pipeline.text.words import normal, normal_words, words_of
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
    return times > 1 and 1 < _utterances(level, speech) != times


def recounted(words: Sequence[Word], before: str, level: Float32, speech: Mask) -> list[Word]:
    """The words of all utterances, if they say the text before again, nearer to once for each; else none.

    One word for each utterance, and always the same, has the spelling of the text before: "3" for "Three."
    """
    said, (same, first) = _utterances(level, speech), rounds(before)
    now, times = rounds(" ".join(word.place.text for word in words))
    if now == same and abs(times - said) < abs(first - said):
        return list(words)
    spelling = words_of(before)[0]
    if times == len(words) == said and normal(spelling) == same:
        return [spelled(word, spelling) for word in words]
    return []


def _utterances(level: Float32, speech: Mask) -> int:
    return len(utterances(level, speech, SHORT_PAUSE, 0, len(level))) - 1
