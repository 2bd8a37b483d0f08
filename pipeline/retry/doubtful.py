"""A window to decode again, and how the result of a second decoding is judged and taken."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.guards import WHOLE, judge
from asr_batch.pipeline.outcomes import Outcome, hypothesis, within_audio
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.gaps import Gap, find_gaps
from asr_batch.pipeline.retry.hearing import Hearing, words_heard
from asr_batch.pipeline.retry.merging import Word, with_words
from asr_batch.pipeline.text.spoken import is_sparse, total_letters
from asr_batch.pipeline.text.words import letters, words_of
from asr_batch.pipeline.thresholds import ALIKE, ENOUGH_SPEECH, LEAST_SPEECH, SUSPECTED, WORSE

USELESS = WHOLE | {"low_logprob"}
MENDED = USELESS | {"too_dense"}
SPOILT = WHOLE | {"too_dense"}


@dataclass(frozen=True)
class Doubtful:
    """A window to decode again: its outcome so far, and the speech in it, frame by frame.

    `speech` is the audit's, `nuclei` are its syllables; `thin`: it has far less text than usual in this
    recording; `confirmed`: stretches [start, end) in frames that a second decoding found complete;
    `before`: likely text before the window, once it is to be decoded after that.
    """

    index: int
    outcome: Outcome
    level: Float32
    speech: Mask
    nuclei: Mask
    thin: bool = False
    confirmed: tuple[tuple[int, int], ...] = ()
    before: str = ""

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return len(self.level) / FRAMES_PER_SECOND

    @property
    def spoken(self) -> float:
        """Seconds of speech in it."""
        return float(np.count_nonzero(self.speech)) / FRAMES_PER_SECOND

    @property
    def unheard(self) -> bool:
        """Whether the window as a whole lacks text for its speech."""
        return "failed" in self.outcome.flags or self.thin or bare(self.outcome, self.spoken)

    @property
    def faulty(self) -> bool:
        """Whether the window as a whole has a fault."""
        return self.unheard or bool(self.outcome.flags & USELESS)

    @cached_property
    def gaps(self) -> list[Gap]:
        """Stretches of speech without words that no second decoding has confirmed."""
        places = self.outcome.result.places
        if not places or [place.text for place in places] != words_of(self.outcome.result.text):
            return []
        speech = self.speech.copy()
        for start, end in self.confirmed:
            speech[start:end] = False
        return find_gaps(places, speech, self.nuclei, self.level, SUSPECTED)


Attempt = Generator[DecodeRequest, WindowResult, Doubtful]


def bare(outcome: Outcome | None, speech: float) -> bool:
    """Whether this much speech counts as not transcribed by the outcome (None: skipped).

    With word positions, they tell what is missing.
    """
    if outcome is None or outcome.result.error is not None or not words_of(outcome.result.text):
        return speech >= LEAST_SPEECH
    result = outcome.result
    return speech >= ENOUGH_SPEECH and not result.places and is_sparse(result.text, speech)


def says_as_much(window: Doubtful, hearing: Hearing) -> bool:
    """Whether both texts have similar length, so that repetition was really spoken."""
    stood = total_letters(words_of(window.outcome.result.text))
    return ALIKE * stood <= letters_of(hearing.words) <= stood / ALIKE


def letters_of(words: Iterable[Word]) -> int:
    """Letters of words with their places, numbers as they are said."""
    return total_letters(word.place.text for word in words)


def if_better(window: Doubtful, name: str, hearing: Hearing) -> Doubtful:
    """The window with the new text if that is better, else with its own, and the new one as a hypothesis."""
    sound = has_text(hearing) and not hearing.faults & WHOLE
    better = sound and _says_more(window, hearing)
    return taken(window, hearing) if better else kept_aside(window, name, hearing)


def has_text(hearing: Hearing) -> bool:
    """Whether a decoding succeeded and has text."""
    return hearing.result.error is None and bool(hearing.words)


def heard_whole(window: Doubtful, result: WindowResult, prompt: str | None, before: float = 0.0) -> Hearing:
    """A decoding of all of the window, which began after `before` seconds of silence."""
    result = within_audio(result)
    words = words_heard(result, -before, window.speech)
    return Hearing(result, tuple(words), judge(result, window.spoken, prompt))


def is_sound(hearing: Hearing) -> bool:
    """Whether a decoding has text without a fault, except that it may be unlikely."""
    return has_text(hearing) and not hearing.faults & SPOILT


def _says_more(window: Doubtful, hearing: Hearing) -> bool:
    """Whether a decoding improves the text: any text, a more likely one, or more of it."""
    before, now = window.outcome.result, hearing.result
    if window.outcome.flags & WHOLE:
        return True
    if "low_logprob" in window.outcome.flags and not window.unheard:
        return now.avg_logprob >= before.avg_logprob + WORSE
    return letters(now.text) > letters(before.text)


def is_as_likely(window: Doubtful, hearing: Hearing) -> bool:
    """Whether the new text is about as likely; a text cut off by the token limit does not count."""
    before = window.outcome
    return "truncated" in before.flags or hearing.result.avg_logprob >= before.result.avg_logprob - WORSE


def taken(window: Doubtful, hearing: Hearing) -> Doubtful:
    """The window with the words of a second decoding; its first text becomes a hypothesis."""
    before = window.outcome.result
    result = with_words(hearing.result, hearing.words, replace(hearing.result, tokens=()))
    if any(word.timed is None for word in hearing.words):
        result = replace(result, words=None)
    if not before.places and not hearing.result.places:
        result = replace(result, places=())
    return replaced(window, result)


def replaced(window: Doubtful, result: WindowResult) -> Doubtful:
    """The window with another result, and without the faults of the first one, which becomes a hypothesis."""
    before = window.outcome
    flags = (before.flags - MENDED) | {"recovered"}
    others = (*before.others, hypothesis("first", before.result))
    return replace(window, outcome=replace(before, result=result, flags=flags, others=others), thin=False)


def kept_aside(window: Doubtful, name: str, hearing: Hearing) -> Doubtful:
    """The window as it is, with the text of a second decoding as a hypothesis called `name`."""
    others = (*window.outcome.others, hypothesis(name, hearing.result))
    return replace(window, outcome=replace(window.outcome, others=others))
