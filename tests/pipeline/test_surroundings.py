"""A brief window with an unclear text is heard again between more silence."""

from __future__ import annotations

import numpy as np
import pytest
from pipeline_lab import answered

from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, TimedText, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.doubtful import Doubtful
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.strategies import STRATEGIES, Strategy
from asr_batch.pipeline.thresholds import BRIEF, UNCLEAR

SECONDS = 3
SAMPLES = np.random.default_rng(1).uniform(-0.5, 0.5, SECONDS * SAMPLE_RATE).astype(np.float32)
STRATEGY: Strategy = next(one for one in STRATEGIES if one.name == "other surroundings")


def said(text: str, logprob: float, start: float = 0.5) -> WindowResult:
    """A text whose words last half a second each from `start`."""
    words = text.split()
    places = tuple(TimedText(start + i / 2, start + (i + 1) / 2, word) for i, word in enumerate(words))
    return WindowResult("", text, tuple(range(len(words))), logprob, 0.0, places=places)


def listener(longest: float = 30.0) -> Listener:
    return Listener(DecodeOptions(), PipelineOptions(), second=False, longest=longest)


def unclear(logprob: float = -0.9, seconds: float = SECONDS, *flags: str) -> Doubtful:
    frames = round(seconds * 100)
    outcome = Outcome(said("damon fryd hamlet", logprob), frozenset(flags))
    speech = np.ones(frames, bool)
    return Doubtful(0, outcome, np.full(frames, -20, np.float32), speech, ~speech)


def heard(
    window: Doubtful, *answers: WindowResult, longest: float = 30.0
) -> tuple[Doubtful, list[DecodeRequest]]:
    """The window after these answers, and what was asked."""
    return answered(STRATEGY.attempt(window, SAMPLES, listener(longest)), *answers)


def test_it_is_decoded_between_silence() -> None:
    _, (silent,) = heard(unclear(), said("a", -2.0))
    first = round(0.3 * SAMPLE_RATE)
    assert len(silent.samples) == 12 * SAMPLE_RATE
    assert not silent.samples[:first].any()
    assert not silent.samples[first + len(SAMPLES) :].any()
    np.testing.assert_array_equal(silent.samples[first : first + len(SAMPLES)], SAMPLES)
    assert silent.options.max_new_tokens == 34  # of the window, not of the silence


def test_the_likelier_text_wins_and_the_other_is_kept() -> None:
    window, _ = heard(unclear(), said("damon fried the omelette", -0.5))
    outcome = window.outcome
    assert outcome.result.text == "damon fried the omelette"
    assert outcome.flags == {"recovered"}
    assert [other.text for other in outcome.others] == ["damon fryd hamlet"]


def test_places_are_those_of_the_window() -> None:
    window, _ = heard(unclear(), said("damon fried the", -0.5, start=0.2))
    places = window.outcome.result.places
    assert [(round(place.start, 2), round(place.end, 2)) for place in places] == [
        (0, 0.4),
        (0.4, 0.9),
        (0.9, 1.4),
    ]


@pytest.mark.parametrize(
    "answer",
    [said("damon fried him", -0.95), said("", -0.1), said("no " * 9, -0.1)],
    ids=["less likely", "nothing", "a loop"],
)
def test_no_worse_text_is_taken(answer: WindowResult) -> None:
    window, _ = heard(unclear(), answer)
    assert window.outcome.result.text == "damon fryd hamlet"
    assert window.outcome.flags == frozenset()
    assert len(window.outcome.others) == 1


def test_a_text_that_stays_unlikely_is_still_named() -> None:
    window, _ = heard(unclear(-1.5, SECONDS, "low_logprob"), said("damon fried him", -1.2))
    assert window.outcome.flags == {"recovered", "low_logprob"}


def test_it_fits_into_the_window_of_the_model() -> None:
    window, asked = heard(unclear(), said("a b c", -0.5), longest=3.1)
    assert max(len(request.samples) for request in asked) <= 3.1 * SAMPLE_RATE
    assert window.outcome.result.places[0].start == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("window", "wanted"),
    [
        (unclear(), True),
        (unclear(UNCLEAR + 0.01), False),
        (unclear(-0.9, BRIEF), False),
        (unclear(-0.9, SECONDS, "repetition"), False),
        (unclear(-0.9, SECONDS, "low_logprob"), True),
    ],
)
def test_only_brief_unclear_windows_are_heard_again(window: Doubtful, wanted: bool) -> None:
    assert STRATEGY.wanted(window, listener()) is wanted
