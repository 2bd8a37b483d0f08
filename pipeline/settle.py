"""After the last window of a track: which windows are tried again, in what order, for how much."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, WindowResult
from asr_batch.pipeline.audit import audible_speech
from asr_batch.pipeline.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.guards import Ask, prepared
from asr_batch.pipeline.repair import LOOKED_INTO, Suspect, Workshop, chosen, repair, severity, usual_rate
from asr_batch.pipeline.reread import Rereader
from asr_batch.pipeline.take import Place, Take


@dataclass(frozen=True, slots=True)
class Remains:
    """A track whose windows are all decoded once. `end`: second of the file where it ended; `threshold`:
    the audit's; `budget`: seconds of audio that may be decoded again.
    """

    place: Place
    end: float
    takes: Sequence[Take]
    threshold: float
    budget: float


def repairs(track: Remains, shop: Workshop) -> Generator[Ask, WindowResult, None]:
    """Try the track's bare and doubtful windows again, worst first as far as the budget goes."""
    budget = track.budget
    suspects = chosen(_suspects(track, shop), budget)
    if not suspects:
        return
    reader = Rereader(track.place.source, track.place.start, track.end, track.place.channel)
    try:
        for place, suspect in enumerate(suspects):
            take = track.takes[suspect.index]
            whole = reader.read(take.start, take.end + SAMPLE_RATE // 5)
            whole = prepared(whole, take.level.astype(np.float32), take.heard)
            samples, more = whole[: take.end - take.start], whole[take.end - take.start :]
            # What is left is shared among the windows still to come, so that none takes all of it.
            share = max(budget / (len(suspects) - place), suspect.seconds)
            take.outcome, spent = yield from repair(suspect, samples, more, shop, min(share * 2, budget))
            budget -= spent
    finally:
        reader.close()


def _suspects(track: Remains, shop: Workshop) -> list[Suspect]:
    masks = [
        audible_speech(take.level.astype(np.float32), take.heard, take.hinted, track.threshold)
        for take in track.takes
    ]
    speech = [float(np.count_nonzero(mask)) / FRAMES_PER_SECOND for mask in masks]
    usual = usual_rate(
        [(take.outcome, s) for take, s in zip(track.takes, speech, strict=True) if take.outcome]
    )
    tolerated = (LOOKED_INTO,) if shop.words else ()
    found = []
    for take, mask, seconds in zip(track.takes, masks, speech, strict=True):
        outcome = take.outcome
        grade = severity(outcome, seconds, usual, *tolerated) if outcome is not None else 0.0
        if outcome is not None and grade > 0:
            found.append(Suspect(take.index, outcome, take.level.astype(np.float32), mask, grade))
    return found
