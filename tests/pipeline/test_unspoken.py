"""Text where nobody speaks: what the witnesses must say for it to be left out, and what stays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import FakeRecognizer, joined, row

from asr_batch.models.recognizer import SAMPLE_RATE, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.guards import judge
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome, cut_loop
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.thresholds import ANYBODY, WEIGHTS
from bench import unspoken

SECONDS = 20
SENTENCE = "user will join the conference. "


def window(
    heard: float, surest: float, no_speech: float, first: float, text: str, logprob: float = -0.7
) -> DecodedWindow:
    """A window with `heard` seconds of speech, of which Silero is sure by `surest`."""
    speech = np.zeros(SECONDS * FRAMES_PER_SECOND, np.float32)
    speech[:30] = surest
    speech[: round(heard * FRAMES_PER_SECOND)] = surest
    result = WindowResult("w", text, (1,), logprob, no_speech, first_logprob=first)
    level = np.full(len(speech), -30, np.float32)
    return DecodedWindow(
        0, 0, SECONDS * SAMPLE_RATE, "pause", level, speech, Outcome(result, judge(result, heard))
    )


@pytest.mark.parametrize(
    ("heard", "surest", "no_speech", "first", "text"),
    [
        (0.0, 0.02, 0.43, -3.04, "I'll see you next time."),
        (0.0, 0.2, 0.66, -2.84, "I'm sorry."),
        (0.0, 0.01, 0.05, -2.9, "I'm not going to be able to do it. " * 9),  # music: the model is sure
        (0.0, 0.18, 0.43, -3.0, "Ha ha ha ha"),
        (3.29, 1.0, 0.36, -2.74, "Mwahahahahahahahahahahahahahahahaha"),
        (1.84, 1.0, 0.29, -2.65, "Hahahahahahahahahahahahahahahahaha"),
        (0.54, 0.74, 0.3, -1.58, "You, you, you, you, you."),
        (1.06, 0.9, 0.37, -3.83, "Thank you."),
        (0.35, 0.87, 0.43, -2.79, "Hmmm..."),
        (0.95, 0.96, 0.24, -3.34, "Yeah, yeah, yeah."),
        (5.9, 1.0, 0.14, -2.97, "Oh"),  # little text for much laughter
        (0.23, 0.65, 0.7, -2.0, "you"),
    ],
)
def test_text_is_left_out_where_the_witnesses_agree_that_nobody_speaks(
    heard: float, surest: float, no_speech: float, first: float, text: str
) -> None:
    assert window(heard, surest, no_speech, first, text).unspoken


def test_rounds_that_the_witnesses_believe_one_by_one_stay() -> None:
    said = window(2.1, 1.0, 0.17, -1.51, "Zero. Zero. Zero.")
    assert said.unspoken
    said.confirmed = ((140, 210),)
    assert said.unspoken  # one round is not most of the speech
    said.confirmed = ((70, 140), (140, 210))
    assert not said.unspoken
    chant = window(0.8, 1.0, 0.17, -2.9, "Never, never, never.")
    chant.confirmed = ((0, 80),)
    assert chant.unspoken  # too little


@pytest.mark.parametrize(
    ("heard", "surest", "no_speech", "first", "text"),
    [
        (0.0, 0.05, 0.26, -0.44, "You haven't turned to any invalid personal identification"),  # loud music
        (0.25, 0.75, 0.58, -1.29, "Be"),
        (0.4, 1.0, 0.06, -2.7, "Chew up."),  # a word that the model does not know
        (1.55, 1.0, 0.6, -0.45, "One, one, one, one."),
        (2.98, 0.97, 0.43, -0.35, "Monday, Monday, Monday, Monday, Monday"),  # said five times
        (3.49, 1.0, 0.37, -0.39, "PM PM PM PM PM"),
        (2.1, 1.0, 0.6, -1.2, "8, 8, 8, 8, 8"),
        (17.5, 1.0, 0.94, -0.4, SENTENCE * 10),  # said ten times
        (
            5.98,
            1.0,
            0.19,
            -2.22,
            "Press 1 to record your unbelievable message. Press 2 to record it.",
        ),  # far away
        (15.0, 1.0, 0.1, -0.3, "One."),  # it ends too early, which a retry may mend
        (0.7, 1.0, math.nan, -0.5, "eight"),  # a model without such a probability
    ],
)
def test_text_stays_where_one_of_them_hears_somebody(
    heard: float, surest: float, no_speech: float, first: float, text: str
) -> None:
    assert not window(heard, surest, no_speech, first, text).unspoken


def test_the_first_token_is_as_unlikely_as_the_text_suggests_if_it_is_not_known() -> None:
    assert window(0.2, 0.6, 0.3, math.nan, "you", -1.6).unspoken
    assert not window(0.2, 0.6, 0.3, math.nan, "you", -0.3).unspoken


def test_a_model_without_a_no_speech_probability_agrees_with_silero() -> None:
    assert window(0.0, 0.0, math.nan, -0.4, "thanks for watching").unspoken
    assert not window(0.0, 0.0, 0.1, -0.4, "thanks for watching").unspoken


@pytest.mark.parametrize(("first", "unspoken", "hopeless"), [(-0.5, False, False), (-1.5, True, False)])
def test_a_doubtful_text_is_decoded_again_before_it_is_left_out(
    first: float, unspoken: bool, hopeless: bool
) -> None:
    found = window(2.0, 1.0, 0.45, first, "Divine, divine, divine, divine")
    assert (found.unspoken, found.hopeless) == (unspoken, hopeless)


def test_a_hopeless_one_is_not_unless_silero_detects_much_speech() -> None:
    assert window(0.0, 0.01, 0.6, -3.0, "I love you.").hopeless
    assert not window(6.0, 0.9, 0.6, -3.9, "I love you.").hopeless


def test_the_weights_are_those_that_the_table_of_texts_gives() -> None:
    texts = unspoken.read([Path(unspoken.__file__).with_suffix(".csv")])
    *weights, start = unspoken.fitted(*unspoken.told(texts))
    assert weights == pytest.approx(list(WEIGHTS.values()), abs=0.06)
    assert start == pytest.approx(ANYBODY, abs=0.06)


def test_weights_follow_what_tells_speech_from_sounds() -> None:
    rng = np.random.default_rng(1)
    spoken = np.repeat([0.0, 1.0], 200)
    signals = rng.normal(size=(400, 2)) + np.outer(spoken, [3, 0])
    telling, other, start = unspoken.fitted(signals, spoken)
    assert telling > 1 > abs(other)
    assert start == pytest.approx(-1.5 * telling, rel=0.3)


@pytest.mark.parametrize(
    ("text", "no_speech", "kept"),
    [
        ("oh, " * 60, 0.5, ""),
        ("T-" * 90, 0.5, ""),
        ("oh, " * 60, 0.1, ""),
        ("eight, " * 60, 0.1, "eight,"),
        ("well then " + "oh, " * 60, 0.5, "well then oh,"),
        ("so it is " * 60, 0.5, "so it is"),
    ],
)
def test_nothing_is_left_of_an_endless_word_if_the_model_doubts_that_anybody_speaks(
    text: str, no_speech: float, kept: str
) -> None:
    result = WindowResult("w", text.strip(), (1,), -0.1, no_speech, truncated=True)
    cut = cut_loop(Outcome(result, judge(result, 5.0)))
    assert cut.result.text == kept
    assert [other.source for other in cut.others] == ["looped"]


def test_an_endless_loop_is_cut_off_without_a_budget_for_retries(
    save: Callable[..., Path], clips: list
) -> None:
    def speak(_: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text="well " + " ".join(["so it is"] * 40), truncated=True)

    transcript = row(save(joined(clips[:3], 0.4)), FakeRecognizer(speak), PipelineOptions(repair_budget=0))
    assert {found.text for found in transcript.windows} == {"well so it is"}


def test_punctuation_alone_is_no_text(save: Callable[..., Path], clips: list) -> None:
    def speak(_: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text="... \u266a ...")

    transcript = row(save(joined(clips[:3], 0.4)), FakeRecognizer(speak))
    assert (transcript.text, transcript.status) == ("", "partial")
    assert all("punctuation alone" in [one.source for one in w.hypotheses] for w in transcript.windows)


@pytest.mark.parametrize(("logprob", "no_speech", "status"), [(-2.2, 0.6, "partial"), (-0.3, 0.1, "ok")])
def test_speech_whose_text_is_left_out_is_named(
    save: Callable[..., Path], clips: list, logprob: float, no_speech: float, status: str
) -> None:
    def speak(_: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, avg_logprob=logprob, no_speech_prob=no_speech)

    options = PipelineOptions(repair_budget=0)
    transcript = row(save(joined(clips[:2], 0.4)), FakeRecognizer(speak), options)
    assert (transcript.status, transcript.coverage < 0.1) == (status, status == "partial")


@pytest.mark.parametrize(
    ("heard", "no_speech", "text", "disputed"),
    [
        (3.5, 0.66, "Hahaha! Hahaha!", False),
        (3.5, 0.1, "dog dog dog dog dog", True),  # the model hears somebody
        (3.5, 0.66, "Thank you.", True),
        (1.5, 0.66, "Thank you.", False),
    ],
)
def test_speech_whose_text_is_left_out_is_missing_unless_it_is_laughter(
    heard: float, no_speech: float, text: str, disputed: bool
) -> None:
    found = window(heard, 0.9, no_speech, -4.0, text)
    assert (found.unspoken, found.disputed) == (True, disputed)
