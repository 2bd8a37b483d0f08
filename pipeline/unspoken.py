"""Text where nobody speaks: what the witnesses must say for the text of a window to be left out.

The witnesses are Silero, the model's no-speech probability, the probability of the text, and a text that only
repeats itself. What one of them hears stays, unless another is certain of the contrary.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.guards import ENDLESS, letters
from asr_batch.pipeline.text.words import is_dense, normal_words, words_of
from asr_batch.pipeline.thresholds import (
    ABSENT,
    CAPTION,
    CHANT,
    CHANT_DENIED,
    CHANT_DOUBTED,
    DENIED,
    DOUBTED,
    HARDLY,
    HOPELESS,
    LAUGHED,
    LOGPROB,
    LONG,
    LONG_LIKELY,
    NO_SPEECH,
    NOTHING,
    RULED_OUT,
    SCARCE,
    SILENT_MODEL,
    SILENT_SECONDS,
    WORTHLESS,
)

_PART = re.compile(r"\w+")
_LAUGHTER = re.compile(r"[^\W\d_]{0,2}([^\W\d_]{2,3}?)\1{2,}[^\W\d_]{0,2}")
_HAHA = re.compile(r"[aeiou]?(?:h[aeiou]h?){2,}|hah?|heh", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is known of a window with text.

    `heard`, `hinted`: seconds that Silero classifies as speech, and that it does not rule out. `seconds`: the
    length of the window. `flags`: the guards that the text fails.
    """

    result: WindowResult
    flags: frozenset[str]
    heard: float
    hinted: float
    seconds: float

    def deny(self) -> bool:
        """Whether they agree that nobody speaks."""
        if self.heard < HARDLY and self._hardly_spoken():
            return True
        if self.hinted < RULED_OUT and not self._surely_speech():
            return True
        return self._doubted_text() or self.laughter()

    def _hardly_spoken(self) -> bool:
        """Silero detects hardly any speech: one more signal is enough."""
        result, nothing = self.result, self.heard < NOTHING
        loop = "repetition" in self.flags
        doubted = result.avg_logprob < DOUBTED
        if result.avg_logprob < LOGPROB or loop or (nothing and doubted) or is_caption(result.text):
            return True
        if math.isnan(result.no_speech_prob):
            return self.hinted == 0
        unsure = nothing or doubted or repetition(result.text) >= CHANT
        return result.no_speech_prob >= ABSENT or (result.no_speech_prob >= NO_SPEECH and unsure)

    def _surely_speech(self) -> bool:
        """A long, likely text, as for a sentence under music louder than the speaker."""
        text, logprob = self.result.text, self.result.avg_logprob
        return letters(text) >= LONG and logprob >= LONG_LIKELY and repetition(text) < CHANT

    def _doubted_text(self) -> bool:
        """Silero detects speech; the model does not, and its text is unlikely."""
        result, few = self.result, self.heard < SILENT_SECONDS
        scarce = self.heard < SCARCE * self.seconds
        denied = result.no_speech_prob > SILENT_MODEL
        if result.avg_logprob < HOPELESS and (denied or scarce):
            return True
        if result.avg_logprob < WORTHLESS and result.no_speech_prob >= DENIED:
            return True
        return few and (self.flags >= ENDLESS or (denied and result.avg_logprob < LOGPROB))

    def laughter(self) -> bool:
        """Silero takes laughter for speech; its text is one syllable again and again."""
        result = self.result
        if result.no_speech_prob >= NO_SPEECH and is_laughter(result.text):
            return True
        if result.no_speech_prob >= LAUGHED and is_haha(result.text):
            return True
        chant = result.no_speech_prob >= CHANT_DENIED and result.avg_logprob < CHANT_DOUBTED
        return chant and stutter(result.text) >= CHANT


def repetition(text: str) -> float:
    """Share of the text's words that it has already had."""
    words = normal_words(text)
    return 1 - len(set(words)) / len(words) if words else 0.0


def stutter(text: str) -> float:
    """Share of the text's words and hyphenated syllables that equal the one before; 0 with digits.

    People read out numbers, and a model is unsure of single digits.
    """
    parts = [part.casefold() for word in words_of(text) for part in _PART.findall(word)]
    if not parts or any(part.isdigit() for part in parts):
        return 0.0
    same: int = sum(left == right for left, right in pairwise(parts))
    return same / len(parts)


def is_laughter(text: str) -> bool:
    """Whether each word is a syllable three times in a row ("Hahaha!"), as no word is."""
    words = normal_words(text)
    return bool(words) and all(_LAUGHTER.fullmatch(word) and not is_dense(word[0]) for word in words)


def is_haha(text: str) -> bool:
    """Whether each word is the usual spelling of a laugh, short or long."""
    words = normal_words(text)
    return bool(words) and all(_HAHA.fullmatch(word) for word in words)


def is_caption(text: str) -> bool:
    """Whether the text describes a sound, as subtitles do in capitals ("ТРЕВОЖНАЯ МУЗЫКА": tense music)."""
    return letters(text) >= CAPTION and text == text.upper() != text.lower()
