"""A second decoding of a window or of a part of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_batch.models.recognizer import DecodeOptions, Samples, TimedText, TimedWord, WindowResult
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Mask
from asr_batch.pipeline.choice import Choice
from asr_batch.pipeline.decoding import decode, one_by_one
from asr_batch.pipeline.guards import WHOLE
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.merging import Word
from asr_batch.pipeline.text.spoken import spread
from asr_batch.pipeline.text.words import join_texts, words_of
from asr_batch.pipeline.thresholds import ENOUGH_SPEECH, LOGPROB
from asr_batch.pipeline.unspoken import Witnesses


@dataclass(frozen=True, slots=True)
class Listener:
    """Context for all further decodings of a track.

    `second`: there is a second model; `longest`: seconds of its longest window; `choice`: several languages
    are possible.
    """

    base: DecodeOptions
    options: PipelineOptions
    second: bool
    longest: float
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What is heard in the frames [start, end) of a window.

    `faults`: guards that its text fails; `words`: in the window's time; `kept`: its text was not left out.
    """

    start: int
    end: int
    result: WindowResult
    words: tuple[Word, ...]
    faults: frozenset[str]
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Hearing:
    """Results of consecutive `parts` of a window as one.

    `faults`: guards that any of them fails; `words`: their words, in the window's time; `whole`: whether none
    was left out.
    """

    result: WindowResult
    words: tuple[Word, ...]
    faults: frozenset[str]
    whole: bool = True
    parts: tuple[Part, ...] = ()


Decoding = Generator[DecodeRequest, WindowResult, Hearing]


def hear(
    samples: Samples,
    edges: Sequence[int],
    speech: Mask,
    listener: Listener,
    *,
    second: bool = False,
    sparing: bool = False,
    changes: dict[str, object] | None = None,
) -> Decoding:
    """Decode the parts of a window between these frames; `changes` to the options of the track.

    `sparing`: a part whose text has a fault is left out rather than all of them rejected. Text that the
    witnesses deny is always left out; from 2 s on they must be sure, or hear laughter, as parts may begin
    inside sentences, and so unsurely.
    """
    base = replace(listener.base, **(changes or {}))  # type: ignore[arg-type]
    found: list[Part] = []
    for start, end in pairwise(edges):
        part = samples[start * FRAME : end * FRAME]
        spoken = float(np.count_nonzero(speech[start:end])) / FRAMES_PER_SECOND
        choice = None if second else listener.choice
        decoding = decode(part, base, listener.options, spoken, choice, second=second)
        outcome = yield from one_by_one(decoding)
        result, faults = outcome.result, outcome.flags - {"low_logprob"}
        faulty = sparing and len(edges) > 2 and bool(faults & WHOLE)
        witnesses = Witnesses.of_part(result, spoken)
        long = spoken >= ENOUGH_SPEECH and not witnesses.laughter()
        denied = witnesses.deny_whatever_follows() if long else witnesses.deny()
        gone = faulty or bool(result.text and denied)
        if gone:
            result = replace(result, text="", tokens=(), places=(), words=None, truncated=False)
            faults = frozenset()
        words = words_heard(result, start / FRAMES_PER_SECOND, speech[start:end])
        found.append(Part(start, end, result, tuple(words), faults, not gone))
    return together(found)


def together(parts: Sequence[Part]) -> Hearing:
    """Consecutive parts as one."""
    joined = as_one([part.result for part in parts])
    faults = frozenset[str]().union(*(part.faults for part in parts))
    if not joined.avg_logprob >= LOGPROB:  # of all together: a short part may be less likely
        faults |= {"low_logprob"}
    words = tuple(word for part in parts for word in part.words)
    return Hearing(joined, words, faults, all(part.kept for part in parts), tuple(parts))


def words_heard(result: WindowResult, offset: float, speech: Mask) -> list[Word]:
    """The words of a result that begins `offset` seconds into the window.

    Without positions from the engine they are spread over the speech.
    """
    texts = words_of(result.text)
    places: Sequence[TimedText] = result.places
    if [place.text for place in places] != texts:
        places = spread(texts, speech)
    timed: list[TimedWord | None] = [None] * len(texts)
    if result.words is not None and [word.word.strip() for word in result.words] == texts:
        timed = [
            replace(word, start=max(0.0, word.start + offset), end=max(0.0, word.end + offset))
            for word in result.words
        ]
    return [
        Word(TimedText(max(0.0, place.start + offset), max(0.0, place.end + offset), place.text), word)
        for place, word in zip(places, timed, strict=True)
    ]


def as_one(results: Sequence[WindowResult]) -> WindowResult:
    """The results of consecutive stretches as one; its places are those of the first that has any."""
    if len(results) == 1:
        return results[0]
    weights = [max(1, len(result.tokens)) for result in results]
    return replace(
        results[0],
        text=join_texts(result.text for result in results),
        tokens=tuple(token for result in results for token in result.tokens),
        avg_logprob=float(np.average([result.avg_logprob for result in results], weights=weights)),
        no_speech_prob=min(result.no_speech_prob for result in results),
        truncated=any(result.truncated for result in results),
        segments=(),
        places=next((result.places for result in results if result.places), ()),
        flags=tuple(sorted({flag for result in results for flag in result.flags})),
        error=next((result.error for result in results if result.error), None),
    )
