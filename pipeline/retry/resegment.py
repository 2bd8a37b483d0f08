"""A window that its model was unsure of, heard again from an earlier pause.

A window that begins inside a sentence makes a model invent the rest of it, and it is unsure of what it
invents. Such a window is decoded again from a better place before it; what the window before it says behind
that place goes, if the new text begins with the same words, and otherwise that window is decoded again too.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_batch.manifests.records import Cut
from asr_batch.models.recognizer import SAMPLE_RATE, Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Mask
from asr_batch.pipeline.guards import Ask, Outcome, Try, judge, letters
from asr_batch.pipeline.records import Take
from asr_batch.pipeline.retry.gaps import missing
from asr_batch.pipeline.retry.repair import UNHEARD, Workshop, asked
from asr_batch.pipeline.text.words import normal, words_between, words_of
from asr_batch.pipeline.windows.cuts import Places, cut_places
from asr_batch.pipeline.windows.planning import SPEECH

_FIRST, _BACK, _OFF = 100, 450, 50  # frames: how much stays of the window before, the reach, cuts apart
_MORE = 1.1  # times as many letters make two halves better than the whole
_BETTER = 0.05  # by how much the log-probability must rise
_LIKELY = -2.0  # odds below which a place is none
_LEAST, _MOST = 0.6, 1.6  # of the recording's letters a second that the new text may have
_SLACK = 10  # letters by which the twin's place may differ, beside half of what is expected

Recut = Generator[Ask, WindowResult, tuple[list[Take], float]]
"""Returns the windows that take the place of the second one (none: it stays) and the seconds decoded."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows that meet at a cut: samples and audible speech of both, from the start of the first.

    `rate`: letters a second of speech in this recording.
    """

    left: Take
    right: Take
    samples: Samples
    speech: Mask
    rate: float


def earlier_starts(pair: Pair, longest: int) -> list[int]:
    """Frames at which the second window may start anew and, if it is then too long, be cut once more."""
    level = np.concatenate((pair.left.level, pair.right.level)).astype(np.float32)
    speech = np.concatenate((pair.left.speech, pair.right.speech)).astype(np.float32)
    border, end = len(pair.left.level), len(level)
    places = cut_places(level, speech)
    start = _best(places, max(_FIRST, border - _BACK), border - _OFF)
    if start is None or end - start <= longest:
        return [] if start is None else [start]
    low, high = max(start + _FIRST, end - longest), min(start + longest, end - _FIRST)
    far = np.abs(places.at - border) > _OFF
    again = _best(Places(places.at[far], places.odds[far]), low, high)
    return [] if again is None else [start, again]


def inner_place(pair: Pair) -> list[int]:
    """The second window's own start, and the frame within it where it may be cut in two."""
    border, end = len(pair.left.level), len(pair.speech)
    level, speech = pair.right.level.astype(np.float32), pair.right.speech.astype(np.float32)
    inner = _best(cut_places(level, speech), _FIRST, end - border - _FIRST, 0.0)
    return [] if inner is None else [border, border + inner]


def _best(places: Places, low: int, high: int, least: float = _LIKELY) -> int | None:
    inside = (places.at >= low) & (places.at <= high) & (places.odds >= least)
    if not inside.any():
        return None
    return int(places.at[inside][np.argmax(places.odds[inside])])


def twin(left: Sequence[str], right: Sequence[str], expected: float) -> int | None:
    """How many words at the end of `left` the start of `right` says too; None if that cannot be told.

    `expected`: about how many letters these words have, from the time that they take.
    """
    ends = [normal(word) for word in left]
    starts = [normal(word) for word in right]
    best, found = 0, None
    for count in range(1, min(len(ends), len(starts)) + 1):
        tail = ends[len(ends) - count :]
        same = sum(a == b for a, b in zip(tail, starts, strict=False))
        near = abs(sum(map(len, tail)) - expected) <= expected / 2 + _SLACK
        if near and 2 * same >= count and same > best:
            best, found = same, count
    return found


def recut(pair: Pair, shop: Workshop, budget: float) -> Recut:
    """Decode the second window from an earlier place, for at most `budget` seconds of audio."""
    starts = earlier_starts(pair, shop.longest // FRAME)
    if not starts or (len(pair.speech) - starts[0]) / FRAMES_PER_SECOND > budget:
        return [], 0.0
    edges = [*starts, len(pair.speech)]
    tries, spent = yield from _heard(pair, edges, shop)
    if _sounder(pair, tries, edges):
        before, more = yield from _before(pair, tries, starts[0], shop, budget - spent)
        spent += more
        if before is not None:
            return _rebuilt(pair, before, tries, edges), spent
    _keep(pair.right, tries)
    return [], spent


def halve(pair: Pair, shop: Workshop, budget: float) -> Recut:
    """Decode the second window in two parts, at its best inner pause; believed if that says clearly more."""
    starts = inner_place(pair)
    if not starts or pair.right.seconds > budget:
        return [], 0.0
    edges = [*starts, len(pair.speech)]
    tries, spent = yield from _heard(pair, edges, shop)
    said, before = sum(letters(attempt.result.text) for attempt in tries), _outcome(pair.right).result
    more = said >= _MORE * letters(before.text) or (
        said >= letters(before.text) and _heard_more(pair, tries, edges)
    )
    if (
        more
        and not any(attempt.faults for attempt in tries)
        and _logprob(tries) >= _logprob_of(pair.right) - _BETTER
    ):
        return _rebuilt(pair, _outcome(pair.left), tries, edges), spent
    _keep(pair.right, tries)
    return [], spent


def _before(
    pair: Pair, tries: Sequence[Try], start: int, shop: Workshop, budget: float
) -> Generator[Ask, WindowResult, tuple[Outcome | None, float]]:
    """What the first window says up to `start`, where the new text begins; None if that cannot be told."""
    outcome = _outcome(pair.left)
    shorter = _shortened(pair, tries, start)
    if shorter is not None:
        return shorter, 0.0
    if start / FRAMES_PER_SECOND > budget:
        return None, 0.0
    (again,), spent = yield from _heard(pair, [0, start], shop)
    if again.faults or again.result.avg_logprob < _logprob_of(pair.left) - _BETTER:
        return None, spent
    first = Try("first", outcome.result).hypothesis()
    return replace(outcome, result=again.result, others=(*outcome.others, first)), spent


def _heard(
    pair: Pair, edges: Sequence[int], shop: Workshop
) -> Generator[Ask, WindowResult, tuple[list[Try], float]]:
    """Decode the stretches between these frames."""
    tries, spent = [], 0.0
    for start, end in pairwise(edges):
        samples = pair.samples[start * FRAME : end * FRAME]
        result = yield asked(samples, shop, False)
        spoken = float(np.count_nonzero(pair.speech[start:end])) / FRAMES_PER_SECOND
        tries.append(Try("recut", result, judge(result, shop.options, spoken)))
        spent += len(samples) / SAMPLE_RATE
    return tries, spent


def _sounder(pair: Pair, tries: Sequence[Try], edges: Sequence[int]) -> bool:
    """Whether the model is surer of the new text, or listened to what it had left out, and the text is about
    as long as the speech asks for.
    """
    start, before = edges[0], _logprob_of(pair.right)
    if any(attempt.faults for attempt in tries):
        return False
    logprob, worst = _logprob(tries), min(attempt.result.avg_logprob for attempt in tries)
    better = worst >= before and logprob >= before + _BETTER
    said = sum(letters(attempt.result.text) for attempt in tries)
    usual = pair.rate * np.count_nonzero(pair.speech[start:]) / FRAMES_PER_SECOND
    better = better or (logprob >= before - _BETTER and _heard_more(pair, tries, edges))
    return bool(better and _LEAST * usual <= said <= _MOST * usual)


def _heard_more(pair: Pair, tries: Sequence[Try], edges: Sequence[int]) -> bool:
    """Whether the second window left out speech that the stretches between these frames do not."""
    border = len(pair.left.level)
    before = missing(_outcome(pair.right).result.places, pair.speech[border:])
    now = sum(
        missing(attempt.result.places, pair.speech[a:b])
        for attempt, (a, b) in zip(tries, pairwise(edges), strict=True)
    )
    return all(attempt.result.places for attempt in tries) and now <= before - UNHEARD


def _logprob(tries: Sequence[Try]) -> float:
    weights = [max(1, len(attempt.result.tokens)) for attempt in tries]
    return float(np.average([attempt.result.avg_logprob for attempt in tries], weights=weights))


def _shortened(pair: Pair, tries: Sequence[Try], start: int) -> Outcome | None:
    """The first window without the words that the new text begins with; None if these cannot be told."""
    outcome = _outcome(pair.left)
    left = words_of(outcome.result.text)
    right = [word for attempt in tries for word in words_of(attempt.result.text)]
    spoken = pair.speech[: len(pair.left.level)]
    expected = pair.rate * np.count_nonzero(spoken[start:]) / FRAMES_PER_SECOND
    count = twin(left, right, expected)
    if count is None:
        return None
    text = words_between(outcome.result.text, 0, len(left) - count)
    if letters(text) < _LEAST * pair.rate * np.count_nonzero(spoken[:start]) / FRAMES_PER_SECOND:
        return None
    words = outcome.result.words
    words = words[: len(left) - count] if words is not None and len(words) == len(left) else None
    places = outcome.result.places
    places = places[: len(left) - count] if len(places) == len(left) else ()
    result = replace(outcome.result, text=text, words=words, places=places, segments=())
    return replace(outcome, result=result)


def _rebuilt(pair: Pair, before: Outcome, tries: Sequence[Try], edges: Sequence[int]) -> list[Take]:
    """The first window, shortened in place, is followed by those returned."""
    left, right, begin = pair.left, pair.right, pair.left.start
    level = np.concatenate((left.level, right.level))
    speech = np.concatenate((left.speech, right.speech))
    first = Try("first", _outcome(right).result).hypothesis()
    takes = []
    for attempt, (start, end) in zip(tries, pairwise(edges), strict=True):
        last = end == edges[-1]
        others = (*_outcome(right).others, first) if last else ()
        takes.append(
            Take(
                right.index,
                begin + start * FRAME,
                right.end if last else begin + end * FRAME,
                right.cut if last else _kind(speech[end]),
                level[start:end],
                speech[start:end],
                Outcome(attempt.result, frozenset({"recovered"}), others),
            )
        )
    left.end, left.cut, left.outcome = begin + edges[0] * FRAME, _kind(speech[edges[0]]), before
    left.level, left.speech = level[: edges[0]], speech[: edges[0]]
    return takes


def _kind(speech: float) -> Cut:
    return "silence" if speech < SPEECH else "valley"


def _outcome(take: Take) -> Outcome:
    assert take.outcome is not None
    return take.outcome


def _logprob_of(take: Take) -> float:
    return _outcome(take).result.avg_logprob


def _keep(take: Take, tries: Sequence[Try]) -> None:
    """Keep tries that were not believed among the window's hypotheses."""
    outcome = _outcome(take)
    others = (*outcome.others, *(attempt.hypothesis() for attempt in tries))
    take.outcome = replace(outcome, others=others)
