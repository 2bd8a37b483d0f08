"""Text for speech without words: what is inserted."""

from __future__ import annotations

import numpy as np
import pytest
from pipeline_lab import answered

from asr_batch.models.recognizer import DecodeOptions, TimedText, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.retry.doubtful import Doubtful
from asr_batch.pipeline.retry.filling import fill_gaps
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.thresholds import GAP, LIKELY_FILL, SUSPECTED

FIRST = "it will do for you ask what you can"


def window(missing: float) -> Doubtful:
    """Words of 0.3 s with one in their middle that lasts longer by what is missing."""
    places, at = [], 0.0
    for word in FIRST.split():
        end = at + 0.3 + (missing + 0.25 if word == "you" and len(places) == 4 else 0.0)
        places.append(TimedText(at, end, word))
        at = end
    speech = np.ones(round(100 * at), bool)
    result = WindowResult("", FIRST, tuple(range(9)), -0.13, 0.0, places=tuple(places))
    level = np.full(len(speech), -20, np.float32)
    level[145:155] = -70  # the pause behind "you"
    return Doubtful(0, Outcome(result, frozenset()), level, speech, ~speech)


def filled(missing: float, logprob: float) -> str:
    """The text after a gap of these seconds was decoded as one word."""
    before = window(missing)
    (gap,) = before.gaps
    assert (gap.missing >= GAP) == (missing >= GAP)
    samples = np.zeros(160 * len(before.speech), np.float32)
    listener = Listener(DecodeOptions(), PipelineOptions(), second=False, longest=30.0)
    answer = WindowResult(
        "", "fellows", (1, 2), logprob, 0.0, places=(TimedText(0.3, 0.3 + missing, "fellows"),)
    )
    after, _ = answered(fill_gaps(before, samples, listener), answer)
    kept = [hypothesis.text for hypothesis in after.outcome.others]
    assert "fellows" in after.outcome.result.text or kept == ["fellows"]
    return after.outcome.result.text


@pytest.mark.parametrize(
    ("missing", "logprob", "inserted"),
    [
        (SUSPECTED + 0.2, LIKELY_FILL + 0.01, True),
        (SUSPECTED + 0.2, LIKELY_FILL - 0.01, False),  # mostly nothing is missing there
        (GAP + 0.5, LIKELY_FILL - 0.01, True),
        (GAP + 0.5, -1.01, False),
    ],
)
def test_a_short_gap_needs_a_likely_text(missing: float, logprob: float, inserted: bool) -> None:
    assert ("fellows" in filled(missing, logprob)) == inserted
