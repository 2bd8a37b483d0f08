"""Text where nobody speaks: a score of what is known of a window with text.

Silero, the model and the text are witnesses, and none of them is right alone: Silero takes laughter for
speech and a whisper for none; over music, a model writes likely sentences; people do say a word again and
again. So what they say is added up, with weights that `bench.unspoken` fits to texts for speech and for other
sounds (docs/audit.md has them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32
from asr_batch.pipeline.text.spoken import text_seconds
from asr_batch.pipeline.text.wordless import rhythm
from asr_batch.pipeline.thresholds import ANYBODY, CHANT, HOPELESS, HOPELESS_SECONDS, NO_SPEECH, WEIGHTS

_LEAST_FIRST = -4.0  # lower ones say no more
_SUREST = 30  # frames
_SPARE = 0.2  # seconds: the ratio of less says nothing
_THINNEST = 0.7  # of a text that ends early, which a retry may complete
_LONGEST = 20.0  # seconds
_FIRST_OF_LOGPROB, _FIRST_LOWER = 1.5, 0.3  # the line through both of the texts that were fitted to
_ABSENT_AT_MOST = 0.8


def surest(speech: Float32) -> float:
    """Silero's mean probability in the 0.3 s, in all, of a window in which it is the surest."""
    return float(np.sort(speech)[-_SUREST:].mean()) if len(speech) else 0.0


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is known of a window with text.

    `heard`: seconds that Silero classifies as speech; `surest`: see :func:`surest`.
    """

    result: WindowResult
    heard: float
    surest: float

    @classmethod
    def of_part(cls, result: WindowResult, spoken: float) -> Witnesses:
        """What is known of a part of a window, which has this many seconds of speech."""
        return cls(result, spoken, min(1.0, spoken * FRAMES_PER_SECOND / _SUREST))

    def deny(self) -> bool:
        """Whether they agree that nobody speaks."""
        return self.score() < 0

    def deny_whatever_follows(self) -> bool:
        """Whether they agree so clearly that no further decoding is asked."""
        return self.heard < HOPELESS_SECONDS and self.score() < HOPELESS

    def score(self) -> float:
        """How much speaks for somebody (positive) or for nobody (negative): the log of odds."""
        return ANYBODY + sum(WEIGHTS[name] * value for name, value in self.signals().items())

    def signals(self) -> dict[str, float]:
        """What each witness says.

        `first`: the log-probability of the first token, if unknown what that of the text suggests; `absent`:
        the no-speech probability; `thin`: how much longer the speech is than the text takes to say (log
        ratio); `rhythm`: how much of the text is one syllable again and again; `said`: seconds that both the
        speech lasts and the text takes to say.
        """
        result = self.result
        first, absent = result.first_logprob, result.no_speech_prob
        if math.isnan(first):
            first = min(_FIRST_OF_LOGPROB * result.avg_logprob - _FIRST_LOWER, 0.0)
        if math.isnan(absent):  # as if the model agreed with Silero
            absent = _ABSENT_AT_MOST * (1 - self.surest)
        takes = text_seconds(result.text)
        return {
            "first": max(first, _LEAST_FIRST),
            "surest": self.surest,
            "absent": absent,
            "thin": min(max(math.log((self.heard + _SPARE) / (takes + _SPARE)), 0.0), _THINNEST),
            "rhythm": rhythm(result.text),
            "said": min(takes, self.heard, _LONGEST),
        }

    def laughter(self) -> bool:
        """Whether the text is a syllable again and again, and the model indicates that nobody speaks."""
        return rhythm(self.result.text) >= CHANT and self.result.no_speech_prob >= NO_SPEECH
