"""Does the audit notice what is missing? Deletes phrases from what the decoder wrote, then repairs as usual.

The deletion happens between recognizer and pipeline: the words are gone from a window's first text, and their
time goes to the words around them, as it does when a decoder skips them. Further decodings are left as they
are, so a phrase is mended if a retry is made, and named if it remains missing and is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import product
from operator import add
from typing import Any

import numpy as np

from asr_batch.manifests.records import Transcript, WindowRecord
from asr_batch.models.recognizer import Recognizer, TimedText, WindowRequest, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.words import normal_words, words_between, words_of
from bench.speech.clips import Recording
from bench.speech.runners import ours

LENGTHS = (1, 2, 3, 5, 8)
"""Words of the phrases that are deleted."""

_EVERY, _ROUNDS = 8, 3
"""One of these many windows loses a phrase, so that the repair budget suffices; rounds with other phrases."""

_NEAR = 0.3
"""Tolerance in seconds for the position of a phrase."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words [first, last) of the window that begins at second `window`, said from `start` to `end`."""

    window: float
    first: int
    last: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Found:
    """What became of phrases of one length: how many there are, their seconds, how many came back, how many
    are missing and reported; seconds reported elsewhere, and windows without a deletion that changed.
    """

    phrases: int = 0
    seconds: float = 0.0
    mended: int = 0
    named: int = 0
    elsewhere: float = 0.0
    changed: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(*map(add, astuple(self), astuple(other)))


class Forgetful:
    """A recognizer that loses words [first, last) of the results for certain samples (`lost`).

    `heard`: all results so far, until it is `complete`.
    """

    def __init__(self, inner: Recognizer) -> None:
        self.complete = False
        self.lost: dict[bytes, tuple[int, int]] = {}
        self.heard: dict[tuple[tuple[int, ...], float], list[tuple[bytes, WindowResult]]] = {}
        self._inner = inner
        self._samples: dict[Any, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, request: WindowRequest) -> None:
        """Remember which samples the request has."""
        self._samples[request.key] = request.samples.tobytes()
        self._inner.submit(request)

    def poll(self) -> list[WindowResult]:
        """The results of the wrapped recognizer, some without a phrase."""
        return [self._without(result) for result in self._inner.poll()]

    def _without(self, result: WindowResult) -> WindowResult:
        samples = self._samples.pop(result.key)
        if result.text and not self.complete:
            self.heard.setdefault((result.tokens, result.avg_logprob), []).append((samples, result))
        first, last = self.lost.get(samples, (0, 0))
        asked_again = last > len(words_of(result.text))  # the same samples can get a shorter text
        return result if first == last or asked_again else without(result, first, last)


def without(result: WindowResult, first: int, last: int) -> WindowResult:
    """The result without its words [first, last), whose time their neighbours share."""
    count = len(words_of(result.text))
    kept = [words_between(result.text, 0, first), words_between(result.text, last, count)]
    text = " ".join(part for part in kept if part)
    places = list(result.places)
    if len(places) != count:
        return replace(result, text=text, places=(), words=None, segments=())
    before, after = places[:first], places[last:]
    middle = (places[first].start + places[last - 1].end) / 2 if before else 0.0
    if before:
        before[-1] = TimedText(before[-1].start, middle, before[-1].text)
    if after:
        after[0] = TimedText(middle, after[0].end, after[0].text)
    return replace(result, text=text, places=(*before, *after), words=None, segments=())


def deletions(
    recognizer: Recognizer, options: PipelineOptions, recordings: Sequence[Recording]
) -> Iterator[tuple[int, Found]]:
    """For each length, what became of the phrases deleted from the recordings."""
    forgetful = Forgetful(recognizer)
    run = ours(forgetful, options)
    complete = [run(recording)[1] for recording in recordings]
    forgetful.complete = True
    for length in LENGTHS:
        found = Found()
        for (recording, whole), seed in product(zip(recordings, complete, strict=True), range(_ROUNDS)):
            forgetful.lost.clear()
            phrases = list(_chosen(forgetful, whole, length, seed))
            found += _judged(phrases, whole, run(recording)[1])
        yield length, found


def _chosen(forgetful: Forgetful, whole: Transcript, length: int, seed: int) -> Iterator[Phrase]:
    """A phrase of some windows whose first text was kept."""
    rng = np.random.default_rng([length, seed])
    for window in whole.windows:
        known = forgetful.heard.get((window.tokens, window.avg_logprob), ())
        if len(known) != 1 or "recovered" in window.flags or rng.random() > 1 / _EVERY:
            continue
        samples, result = known[0]
        places = result.places
        if len(places) < length + 2 or [place.text for place in places] != words_of(window.text):
            continue
        first = int(rng.integers(0, len(places) - length + 1))
        forgetful.lost[samples] = first, first + length
        start, end = places[first].start, places[first + length - 1].end
        yield Phrase(window.start, first, first + length, window.start + start, window.start + end)


def _judged(phrases: Sequence[Phrase], whole: Transcript, row: Transcript) -> Found:
    before = {window.start: window for window in whole.windows}
    after = {window.start: window for window in row.windows}
    changed = sum(
        before[start].text != after[start].text
        for start in before.keys() - {phrase.window for phrase in phrases}
    )
    mended = [_whole_again(before[one.window], after[one.window], one) for one in phrases]
    named = [_reported(row, one.start, one.end) for one in phrases]
    stretches = [(one.start, one.end) for one in phrases] + list(whole.uncovered)
    elsewhere = [
        end - start
        for start, end in row.uncovered
        if not any(start < b + _NEAR and end > a - _NEAR for a, b in stretches)
    ]
    return Found(
        len(phrases),
        sum(one.end - one.start for one in phrases),
        sum(mended),
        sum(name and not good for name, good in zip(named, mended, strict=True)),
        sum(elsewhere),
        changed,
    )


def _whole_again(before: WindowRecord, after: WindowRecord, phrase: Phrase) -> bool:
    """Whether most of the deleted words stand between the words around them again."""
    words = [" ".join(normal_words(word)) for word in words_of(before.text)]
    wanted = [word for word in words[phrase.first : phrase.last] if word]
    rest = len([word for word in words[phrase.last :] if word])
    now = normal_words(after.text)
    ahead = len([word for word in words[: phrase.first] if word])
    there = now[ahead : len(now) - rest]
    return sum(word in there for word in wanted) > len(wanted) / 2


def _reported(row: Transcript, start: float, end: float) -> bool:
    return any(a < end + _NEAR and b > start - _NEAR for a, b in row.uncovered)
