"""A window with an unsure choice that later words follow is decoded again after the text before it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pipeline_lab import answered

from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, TimedText, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.context import text_before
from asr_batch.pipeline.retry.doubtful import Doubtful
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.strategies import STRATEGIES, Strategy
from asr_batch.pipeline.thresholds import AS_LIKELY, FIRST_TOKEN, LIKELY_BEFORE, RECURRING, SHOWN

SECONDS = 6
SAMPLES = np.random.default_rng(1).uniform(-0.5, 0.5, SECONDS * SAMPLE_RATE).astype(np.float32)
STRATEGY: Strategy = next(one for one in STRATEGIES if one.name == "after the text before")
BEFORE = "To leave a message, dial 1. To call the operator, dial 2."
FIRST = "Dow 4. To send this collar to the other menu, press the star key."
BETTER = "Dial 4. To send this caller to the other menu, press the star key."
SEARCHED = DecodeOptions(search=True)


def said(text: str, logprob: float = -0.1, first: float = -0.1, language: str = "en") -> WindowResult:
    """A text of two words a second."""
    words = text.split()
    places = tuple(TimedText(i / 2, (i + 1) / 2, word) for i, word in enumerate(words))
    return WindowResult(
        "", text, tuple(range(len(words))), logprob, 0.0,
        places=places, first_logprob=first, language=language,
    )  # fmt: skip


def listener(base: DecodeOptions = SEARCHED) -> Listener:
    return Listener(base, PipelineOptions(), second=False, longest=30.0)


def unsure(first: float = FIRST_TOKEN - 0.01, *flags: str, doubt: float = 0.0) -> Doubtful:
    frames = SECONDS * 100
    speech = np.ones(frames, bool)
    result = replace(said(FIRST, -0.2, first), recurring_doubt=doubt)
    level = np.full(frames, -20, np.float32)
    return Doubtful(1, Outcome(result, frozenset(flags)), level, speech, ~speech, before=BEFORE)


def heard(answer: WindowResult, base: DecodeOptions = SEARCHED) -> tuple[Doubtful, DecodeRequest]:
    """The window after this answer, and what was asked."""
    window, (asked,) = answered(STRATEGY.attempt(unsure(), SAMPLES, listener(base)), answer)
    return window, asked


def window(text: str, logprob: float = -0.1, *flags: str, language: str = "en") -> DecodedWindow:
    """A window with four seconds of speech and this text; without text, one that was skipped."""
    decoded = DecodedWindow(
        0, 0, 4 * SAMPLE_RATE, "end", np.full(400, -20, np.float32), np.ones(400, np.float32)
    )  # fmt: skip
    decoded.outcome = Outcome(said(text, logprob, language=language), frozenset(flags)) if text else None
    return decoded


def shown(*nearest: DecodedWindow) -> str:
    outcomes = [(index, one.outcome) for index, one in enumerate(nearest) if one.outcome is not None]
    text, windows = text_before(outcomes, "en")
    assert bool(windows) is bool(text)
    return text


def test_the_decoder_is_shown_the_text_before_and_the_prompt_of_the_row() -> None:
    _, asked = heard(said(BETTER))
    assert asked.options.prompt == BEFORE
    assert not asked.options.search
    np.testing.assert_array_equal(asked.samples, SAMPLES)
    _, asked = heard(said(BETTER), replace(SEARCHED, prompt="Names: Ada."))
    assert asked.options.prompt == f"Names: Ada. {BEFORE}"


def test_the_likelier_text_wins_and_the_first_one_is_kept() -> None:
    after, _ = heard(said(BETTER))
    assert after.outcome.result.text == BETTER
    assert after.outcome.flags == {"recovered"}
    assert [(other.source, other.text) for other in after.outcome.others] == [("first", FIRST)]
    assert [place.text for place in after.outcome.result.places] == BETTER.split()


@pytest.mark.parametrize(
    "answer",
    [
        said(BETTER, -0.2 - AS_LIKELY - 0.001),
        said(""),
        said("no " * 9),
        said(f"{BEFORE} {BETTER}"),
        said("To send this caller to the other menu, press the star key."),
        said("To leave a message, dial 1. To call the operator, dial 2. Dial 4."),
    ],
    ids=["less likely", "nothing", "a loop", "the text before again", "a sentence less", "only that"],
)
def test_no_other_text_is_taken(answer: WindowResult) -> None:
    after, _ = heard(answer)
    assert after.outcome.result.text == FIRST
    assert after.outcome.flags == frozenset()
    assert [other.source for other in after.outcome.others] == ["after the text before"]


@pytest.mark.parametrize(
    ("doubtful", "base", "wanted"),
    [
        (unsure(), SEARCHED, True),
        (unsure(FIRST_TOKEN), SEARCHED, False),
        (unsure(FIRST_TOKEN, doubt=RECURRING + 0.01), SEARCHED, True),
        (unsure(FIRST_TOKEN, doubt=RECURRING), SEARCHED, False),
        (unsure(math.nan), SEARCHED, False),
        (unsure(-3.0, "repetition"), SEARCHED, False),
        (unsure(-3.0, "low_logprob"), SEARCHED, False),
        (unsure(), DecodeOptions(), False),
    ],
    ids=["unsure", "sure", "a recurring word", "a sure one", "unknown", "a loop", "unlikely", "no search"],
)
def test_only_sound_windows_with_an_unsure_word_that_others_follow_are_asked(
    doubtful: Doubtful, base: DecodeOptions, wanted: bool
) -> None:
    assert STRATEGY.wanted(doubtful, listener(base)) is wanted


def test_the_text_before_is_that_of_the_nearest_windows() -> None:
    assert shown() == ""
    assert shown(window("two three."), window(""), window("One")) == "One two three."
    long = " ".join(f"word{i}" for i in range(99))
    assert (
        shown(window("the end."), window(long), window("never"))
        == f"{long} the end."[-SHOWN:].split(" ", 1)[1]
    )


def test_text_with_a_fault_or_in_another_language_ends_it() -> None:
    assert shown(window("two."), window("One " * 9, -0.1, "repetition"), window("zero")) == "two."
    assert shown(window("two."), window("uno", language="es"), window("zero")) == "two."
    assert shown(window("uno", language="es"), window("zero")) == ""


def test_mended_text_is_shown() -> None:
    assert shown(window("two.", -0.1, "recovered"), window("one,")) == "one, two."


def test_unlikely_text_is_not_shown() -> None:
    assert shown(window("This is what was said", LIKELY_BEFORE - 0.01)) == ""
    assert shown(window("This is", LIKELY_BEFORE - 0.01), window("what was said for long", -0.05)) != ""
