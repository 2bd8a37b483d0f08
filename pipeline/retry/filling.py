"""Strategies for speech without words inside a window with text: each gap is decoded alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.guards import WHOLE
from asr_batch.pipeline.retry.doubtful import USELESS, Attempt, Doubtful, kept_aside, letters_of, replaced
from asr_batch.pipeline.retry.gaps import Gap, missing
from asr_batch.pipeline.retry.hearing import Hearing, Listener, hear, words_heard
from asr_batch.pipeline.retry.merging import merged, with_words
from asr_batch.pipeline.thresholds import (
    ASKED_FOR,
    GAP,
    LETTER_SECONDS,
    LIKELY_FILL,
    PAUSE,
    SAME,
    SHORT_PAUSE,
    SUSPECTED,
    WORSE,
)
from asr_batch.pipeline.windows.utterances import utterances


def fill_gaps(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each gap, from the pause before it to the pause after it, in one piece."""
    for gap in reversed(window.gaps):  # from the last one, so that words before it keep their positions
        hearing = yield from hear(samples, [gap.start, gap.end], window.speech, listener)
        window = _filled(window, gap, hearing, sure=not _left_over(window, gap, hearing))
    return window


def fill_by_utterance(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each utterance of the remaining gaps separately, so that repetitions are written twice.

    Without the prompt: it may contain what was skipped.
    """
    for gap in reversed(window.gaps):
        if _is_one_utterance(window, gap, listener):
            continue
        edges = _parts(window, gap)
        hearing = yield from hear(
            samples, edges, window.speech, listener, sparing=True, changes={"prompt": None}
        )
        window = _filled(window, gap, hearing, sure=hearing.whole)
    return window


def has_gaps(window: Doubtful, _: Listener) -> bool:
    """Whether a window with a sound text has speech without words."""
    return not (window.unheard or window.outcome.flags & WHOLE) and bool(window.gaps)


def seconds_in_gaps(window: Doubtful) -> float:
    """Seconds of audio in its gaps."""
    return sum(gap.end - gap.start for gap in window.gaps) / FRAMES_PER_SECOND


def _is_one_utterance(window: Doubtful, gap: Gap, listener: Listener) -> bool:
    """Whether both ways to fill a gap are the same."""
    return len(_parts(window, gap)) == 2 and not listener.base.prompt


def _parts(window: Doubtful, gap: Gap) -> list[int]:
    """The edges of the utterances in a gap."""
    edges = utterances(window.level, window.speech, PAUSE, gap.start, gap.end)
    if len(edges) == 2:
        edges = utterances(window.level, window.speech, SHORT_PAUSE, gap.start, gap.end)
    return edges


def _left_over(window: Doubtful, gap: Gap, hearing: Hearing) -> bool:
    """Whether the second decoding also has a gap."""
    speech = np.zeros_like(window.speech)
    speech[gap.start : gap.end] = window.speech[gap.start : gap.end]
    return missing([word.place for word in hearing.words], speech, window.nuclei) >= SUSPECTED


def _filled(window: Doubtful, gap: Gap, hearing: Hearing, *, sure: bool) -> Doubtful:
    """Insert what is new in a decoding, or confirm the stretch; `sure`: the decoding covers all of it."""
    standing = words_heard(window.outcome.result, 0.0, window.speech)
    inside = standing[gap.first : gap.last]
    before = standing[gap.first - 1] if gap.first else None
    after = standing[gap.last] if gap.last < len(standing) else None
    both = merged(inside, hearing.words, before, after, short=gap.missing < GAP)
    heard, said, stood = (letters_of(words) for words in (hearing.words, both, inside))
    news = said - stood >= ASKED_FOR * gap.missing / LETTER_SECONDS
    if news and not _useless(window, gap, hearing):
        words = [*standing[: gap.first], *both, *standing[gap.last :]]
        return replaced(window, with_words(window.outcome.result, words, hearing.result))
    if sure and not news and stood and heard >= SAME * stood:
        return replace(window, confirmed=(*window.confirmed, (gap.start, gap.end)))
    return kept_aside(window, "gap", hearing)


def _useless(window: Doubtful, gap: Gap, hearing: Hearing) -> bool:
    """Whether the text of a gap has a fault; an unlikely one may be added to an unlikely text.

    In a short gap, where mostly nothing is missing, it must be likelier.
    """
    if gap.missing < GAP and hearing.result.avg_logprob < LIKELY_FILL:
        return True
    if hearing.faults & USELESS == {"low_logprob"} == window.outcome.flags & USELESS:
        return hearing.result.avg_logprob < window.outcome.result.avg_logprob - WORSE
    return bool(hearing.faults & USELESS)
