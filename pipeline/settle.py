"""After the last window of a track: which windows are tried again, in what order, for how much."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples, WindowResult
from asr_batch.pipeline.audit import audible_speech
from asr_batch.pipeline.frames import FRAMES_PER_SECOND, Mask
from asr_batch.pipeline.guards import Ask, letters, prepared
from asr_batch.pipeline.recut import Pair, halve, recut
from asr_batch.pipeline.repair import (
    LOOKED_INTO,
    Suspect,
    Workshop,
    chosen,
    doubts,
    needs_all,
    repair,
    severity,
    usual_rate,
)
from asr_batch.pipeline.reread import Rereader
from asr_batch.pipeline.take import Place, Take

_ENOUGH, _TELLING = 3.0, 8  # seconds of speech, windows: from here a rate tells something
_SPARSE = 0.65  # of the recording's usual letters a second: less is no transcript
_DOUBT = 1.5  # share of a window's speech that counts as missing for each unit of log-probability


@dataclass(frozen=True, slots=True)
class Remains:
    """A track whose windows are all decoded once. `end`: second of the file where it ended; `threshold`:
    the audit's; `budget`: seconds of audio that may be decoded again.
    """

    place: Place
    end: float
    takes: list[Take]
    threshold: float
    budget: float


def repairs(track: Remains, shop: Workshop) -> Generator[Ask, WindowResult, None]:
    """Try the track's bare and doubtful windows again, worst first as far as the budget goes."""
    found, rate = _suspects(track, shop)
    suspects = chosen(found, track.budget)
    if suspects:
        yield from _work(track, suspects, shop, rate)
    _mark_sparse(track)


def _work(
    track: Remains, suspects: Sequence[Suspect], shop: Workshop, rate: float
) -> Generator[Ask, WindowResult, None]:
    budget = track.budget
    reader = Rereader(track.place.source, track.place.start, track.end, track.place.channel)
    heard: dict[int, list[Take]] = {}
    try:
        for place, suspect in enumerate(suspects):
            # What is left is shared among the windows still to come, so that none takes all of it.
            share = max(budget / (len(suspects) - place), suspect.seconds)
            allowed = min(share * 2, budget)
            take, left = track.takes[suspect.index], _left(track.takes, heard, suspect.index)
            pair_start = left.start if left is not None else take.start
            whole = reader.read(pair_start, take.end + SAMPLE_RATE // 5)
            whole = prepared(whole, take.level.astype(np.float32), take.heard)
            samples, more = (
                whole[take.start - pair_start : take.end - pair_start],
                whole[take.end - pair_start :],
            )
            spent, whole_window = 0.0, needs_all(suspect)
            if left is not None and not whole_window:
                pair = _pair(track, left, take, whole[: take.end - pair_start], rate)
                way = recut(pair, shop, allowed) if suspect.unsure else halve(pair, shop)
                heard[suspect.index], spent = yield from way
            if whole_window or not (suspect.unsure or spent):
                take.outcome, more_spent = yield from repair(
                    replace(suspect, outcome=take.outcome or suspect.outcome), samples, more, shop, allowed
                )
                spent += more_spent
            budget -= spent
    finally:
        reader.close()
    track.takes[:] = [new for take in track.takes for new in heard.get(take.index) or [take]]
    for index, take in enumerate(track.takes):
        take.index = index


def _mark_sparse(track: Remains) -> None:
    """Mark windows whose text is far too short for their speech, by what is usual in this recording."""
    spoken = [
        float(np.count_nonzero(_audible(take, track.threshold))) / FRAMES_PER_SECOND for take in track.takes
    ]
    rates = [
        letters(take.outcome.result.text) / seconds if take.outcome and seconds >= _ENOUGH else math.nan
        for take, seconds in zip(track.takes, spoken, strict=True)
    ]
    known = np.array([rate for rate in rates if rate > 0])
    if len(known) < _TELLING:
        return
    usual = float(np.median(known))
    spread = 1.5 * float(np.median(np.abs(known - usual)))
    least = min(_SPARSE * usual, usual - 3 * spread)
    for take, rate in zip(track.takes, rates, strict=True):
        take.sparse = rate < least


def _left(takes: Sequence[Take], heard: Mapping[int, Sequence[Take]], index: int) -> Take | None:
    """The window before this one, if both have a text and meet at a cut without overlap."""
    if index == 0:
        return None
    left = (heard.get(index - 1) or [takes[index - 1]])[-1]
    if left.end != takes[index].start or left.outcome is None or left.outcome.result.error is not None:
        return None
    return left if left.outcome.result.text.strip() else None


def _pair(track: Remains, left: Take, right: Take, samples: Samples, rate: float) -> Pair:
    level = np.concatenate((left.level, right.level)).astype(np.float32)
    heard, hinted = (
        np.concatenate(pair) for pair in ((left.heard, right.heard), (left.hinted, right.hinted))
    )
    return Pair(left, right, samples, audible_speech(level, heard, hinted, track.threshold), rate)


def _suspects(track: Remains, shop: Workshop) -> tuple[list[Suspect], float]:
    """Windows to try again, and how many letters a second this recording has."""
    masks = [_audible(take, track.threshold) for take in track.takes]
    speech = [float(np.count_nonzero(mask)) / FRAMES_PER_SECOND for mask in masks]
    usual = usual_rate(
        [(take.outcome, s) for take, s in zip(track.takes, speech, strict=True) if take.outcome]
    )
    tolerated = (LOOKED_INTO,) if shop.words else ()
    unsure = doubts([_logprob(take) for take in track.takes])
    found = []
    for take, mask, seconds, doubt in zip(track.takes, masks, speech, unsure, strict=True):
        outcome = take.outcome
        if outcome is None:
            continue
        grade = max(severity(outcome, seconds, usual, *tolerated), seconds * min(0.5, _DOUBT * doubt))
        if grade > 0:
            level = take.level.astype(np.float32)
            found.append(Suspect(take.index, outcome, level, mask, grade, doubt > 0))
    return found, usual


def _audible(take: Take, threshold: float) -> Mask:
    return audible_speech(take.level.astype(np.float32), take.heard, take.hinted, threshold)


def _logprob(take: Take) -> float:
    return take.outcome.result.avg_logprob if take.outcome else math.nan
