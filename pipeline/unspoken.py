"""Text where nobody speaks: what the witnesses must say for the text of a window to be left out.

The witnesses are Silero, the model's no-speech probability, the probability of the text, a text that only
repeats itself, and what other decodings of the window write. What one of them hears stays, unless another is
certain of the contrary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.guards import ENDLESS, letters
from asr_batch.pipeline.text.repetition import doubled
from asr_batch.pipeline.text.spoken import is_sparse
from asr_batch.pipeline.text.wordless import (
    chants_otherwise,
    drawn_out,
    has_digits,
    is_caption,
    is_cry,
    is_haha,
    is_laughter,
    repetition,
    stutter,
)
from asr_batch.pipeline.thresholds import (
    ABSENT,
    CHANT,
    CHANT_DENIED,
    CHANT_DOUBTED,
    CRAMMED,
    CRY_DOUBT,
    DENIED,
    DOUBT,
    DOUBT_LONGER,
    DOUBTED,
    ENOUGH_SPEECH,
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


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is known of a window with text.

    `heard`, `hinted`: seconds that Silero classifies as speech, and that it does not rule out. `seconds`: the
    length of the window. `flags`: the guards that the text fails. `others`: texts of its other decodings.
    """

    result: WindowResult
    flags: frozenset[str]
    heard: float
    hinted: float
    seconds: float
    others: tuple[str, ...] = ()

    def deny(self) -> bool:
        """Whether they agree that nobody speaks."""
        return self.deny_whatever_follows() or self._doubted_twice() or self._is_no_word()

    def deny_whatever_follows(self) -> bool:
        """Whether they agree so clearly that no further decoding is asked."""
        if self.heard < HARDLY and self._hardly_spoken():
            return True
        if self.hinted < RULED_OUT and not self._surely_speech():
            return True
        return self._doubted_text() or self.laughter()

    @property
    def _doubt(self) -> float:
        """How absent the model holds a speaker to be, and how unlikely its text: both count."""
        return 2 * self.result.no_speech_prob - self.result.avg_logprob

    @property
    def _doubted(self) -> bool:
        return self.result.avg_logprob < DOUBTED

    @property
    def _brief(self) -> bool:
        return self.heard < ENOUGH_SPEECH or is_sparse(self.result.text, self.heard)

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

    def _doubted_twice(self) -> bool:
        """Little speech, with a text that the model doubts, after further decodings too."""
        text, few = self.result.text, self.heard < SILENT_SECONDS
        if not self._doubted:
            return False
        if self._brief and self._doubt > (DOUBT if few else DOUBT_LONGER) and not has_digits(text):
            return True  # people read out numbers, of whose digits models are unsure
        crammed = self.heard < CRAMMED and self.hinted < ENOUGH_SPEECH and "too_dense" in self.flags
        return crammed and not doubled(text)

    def _is_no_word(self) -> bool:
        """A voice without words: a cry, or a syllable that each decoding takes for another."""
        text, no_speech = self.result.text, self.result.no_speech_prob
        if is_cry(text) and self._doubt > CRY_DOUBT:
            return True
        if self._brief and self._doubted and any(map(drawn_out, self.others)):
            return True
        chants = stutter(text) >= CHANT and no_speech >= NO_SPEECH
        loops = self.flags >= ENDLESS and is_sparse(text, self.heard)  # likely, whatever it says
        if chants or loops or (self._doubted and self._doubt > DOUBT):
            return any(chants_otherwise(text, other) for other in self.others)
        return False

    def laughter(self) -> bool:
        """Silero takes laughter for speech; its text is one syllable again and again."""
        result = self.result
        if result.no_speech_prob >= NO_SPEECH and is_laughter(result.text):
            return True
        if result.no_speech_prob >= LAUGHED and is_haha(result.text):
            return True
        chant = result.no_speech_prob >= CHANT_DENIED and result.avg_logprob < CHANT_DOUBTED
        return chant and stutter(result.text) >= CHANT
