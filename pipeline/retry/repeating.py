"""Strategies for text that says the same again and again: the sound tells how often it was said."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.audio.rounds import rounds
from asr_batch.pipeline.guards import ENDLESS, WHOLE
from asr_batch.pipeline.outcomes import cut_loop, first_words
from asr_batch.pipeline.retry.agreement import agreed
from asr_batch.pipeline.retry.counting import alike, miscounted, parts, recounted
from asr_batch.pipeline.retry.doubtful import (
    Attempt,
    Doubtful,
    has_text,
    is_as_likely,
    kept_aside,
    letters_of,
    replaced,
    says_as_much,
    taken,
)
from asr_batch.pipeline.retry.gaps import missing
from asr_batch.pipeline.retry.hearing import Hearing, Listener, hear
from asr_batch.pipeline.text.repetition import doubled, loop_of, repeats
from asr_batch.pipeline.text.repetition import rounds as rounds_of
from asr_batch.pipeline.text.spoken import text_seconds, total_letters
from asr_batch.pipeline.text.words import normal_letters, similarity, words_between, words_of
from asr_batch.pipeline.thresholds import GAP, OTHER_LENGTH, SAME, SHORT_PAUSE, SUSPECTED
from asr_batch.pipeline.windows.utterances import utterances


def by_utterance(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each utterance separately: really repeated speech stays, loops do not."""
    edges = utterances(window.level, window.speech, SHORT_PAUSE, 0, len(window.level))
    if len(edges) > 2:
        hearing = yield from hear(samples, edges, window.speech, listener)
        sound = has_text(hearing) and not hearing.faults & WHOLE
        if sound and (is_as_likely(window, hearing) or _fits_better(window, hearing)):
            return taken(window, hearing)
        window = kept_aside(window, "utterances", hearing)
        if _is_heard_once(window.outcome.result.text, hearing):
            return replace(window, outcome=cut_loop(window.outcome))
        if sound and says_as_much(window, hearing):
            kept = replace(window.outcome, flags=window.outcome.flags - {"repetition"})
            more = letters_of(hearing.words) > total_letters(words_of(kept.result.text))
            return replace(window, outcome=kept, confirmed=() if more else ((0, len(window.level)),))
    if window.outcome.flags & {"truncated", "too_dense"}:
        return replace(window, outcome=cut_loop(window.outcome))
    return window


def _fits_better(window: Doubtful, hearing: Hearing) -> bool:
    """Whether a text takes about as long to say as the speech lasts, and a loop does not.

    Loops are likely, so the probability does not tell how often something is said.
    """
    first, now = (text_seconds(one.result.text) for one in (window.outcome, hearing))
    if "repetition" not in window.outcome.flags or not (window.spoken and first and now):
        return False
    return abs(math.log(now / window.spoken)) < abs(math.log(first / window.spoken)) - OTHER_LENGTH


def _is_heard_once(text: str, hearing: Hearing) -> bool:
    """Whether what a loop repeats is heard in one utterance at most, if all of them have a sound text."""
    loop = loop_of(text)
    if loop is None or hearing.faults & WHOLE:
        return False
    phrase = normal_letters(words_between(text, *loop))
    said = [normal_letters(part.result.text) for part in hearing.parts]
    times = [
        max(text.count(phrase), similarity(text, phrase) >= SAME or text in phrase) for text in said if text
    ]
    return sum(times) < 2


def by_sound(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode separately each round of what is said again and again, as the sound tells.

    Decoders skip such rounds, and write too many; all texts of a loop are likely.
    """
    edges = parts(rounds(samples, window.level), window.speech)
    if len(edges) < 3:
        return _said_once(window)
    alone = replace(listener, choice=None)  # in the language of the window, of which there is more to hear
    hearing = yield from hear(samples, edges, window.speech, alone, sparing=True, changes={"prompt": None})
    hearing = agreed(hearing, samples)
    same = alike(hearing.words, edges)
    if 2 * len(same) < len(edges):
        return kept_aside(window, "rounds by sound", hearing)
    whole = tuple(part for part in same if not _has_gap(window, hearing, *part))
    said = letters_of(hearing.words)
    text = window.outcome.result.text
    other = abs(said - total_letters(words_of(text)))
    told = other < said / (2 * len(edges) - 2) and not _counts_another(text, hearing)
    if told and not (window.gaps or "truncated" in window.outcome.flags):
        kept = replace(window.outcome, flags=window.outcome.flags - {"repetition"})
        return kept_aside(replace(window, outcome=kept, confirmed=whole), "rounds by sound", hearing)
    return replace(taken(window, hearing), confirmed=whole)


def _counts_another(text: str, hearing: Hearing) -> bool:
    """Whether both texts say one thing again and again, but not as often ("Size" seven times, "5" six)."""
    before, now = (loop[1] for loop in (rounds_of(text), rounds_of(hearing.result.text)))
    return min(before, now) > 1 and before != now


def _has_gap(window: Doubtful, hearing: Hearing, start: int, end: int) -> bool:
    """Whether the words heard in a round, between these frames, account for too little of its speech."""
    speech = np.zeros_like(window.speech)
    speech[start:end] = window.speech[start:end]
    words = [word.place for word in hearing.words if start <= word.place.start * FRAMES_PER_SECOND + 1 < end]
    return missing(words, speech, window.nuclei) >= SUSPECTED


def _said_once(window: Doubtful) -> Doubtful:
    """The window with its text once if that is a phrase written twice for too little speech."""
    result = window.outcome.result
    if window.outcome.flags == {"too_dense"} and doubled(result.text):
        return replaced(window, first_words(result, len(words_of(result.text)) // 2))
    return window


def may_have_rounds(window: Doubtful, _: Listener) -> bool:
    """Whether a text repeats itself or takes far less time to say than there is speech."""
    if window.outcome.flags & (ENDLESS | {"too_dense"}) or repeats(window.outcome.result.text):
        return True
    return any(gap.missing >= GAP for gap in window.gaps)


def by_rounds(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each utterance of a window that says one thing again and again: the audio tells how often."""
    edges = utterances(window.level, window.speech, SHORT_PAUSE, 0, len(window.level))
    hearing = yield from hear(samples, edges, window.speech, listener)
    better = recounted(hearing.words, window.outcome.result.text, window.level, window.speech)
    return taken(window, hearing) if better else kept_aside(window, "rounds", hearing)


def is_miscounted(window: Doubtful, _: Listener) -> bool:
    """Whether a text says one thing more or less often than there are utterances."""
    text = window.outcome.result.text
    counted = window.confirmed or "truncated" in window.outcome.flags
    return not counted and miscounted(text, window.level, window.speech)
