"""A prompt may change words, but must not put any where nobody speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, answered, joined, row

from asr_batch.models.recognizer import DecodeOptions, WindowRequest, WindowResult
from asr_batch.pipeline.decoding import decode, one_by_one
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.requests import DecodeRequest

PROMPT = "Dr. Mueller of Asterisk, please leave a message"
SAMPLES = np.zeros(4 * RATE, np.float32)


def said(text: str, logprob: float = -0.3, no_speech: float = 0.1) -> WindowResult:
    return WindowResult("", text, tuple(range(len(text.split()))), logprob, no_speech)


def decoded(speech: float, *answers: WindowResult) -> tuple[Outcome, list[DecodeRequest]]:
    """The outcome of a window with so much speech after these answers, and what was asked."""
    decoding = one_by_one(decode(SAMPLES, DecodeOptions(prompt=PROMPT), PipelineOptions(), speech, None))
    return answered(decoding, *answers)


def test_it_is_not_shown_where_hardly_any_speech_is_detected() -> None:
    outcome, (only,) = decoded(0.2, said("eight"))
    assert only.options.prompt is None
    assert (outcome.result.text, outcome.prompted) == ("eight", False)


@pytest.mark.parametrize(
    ("with_prompt", "speech"),
    [
        (said("Please leave a message."), 3.0),  # words of the prompt
        (said("Asterisk, Asterisk,"), 3.0),
        (said("So please leave a message for me."), 3.0),  # an echo among other words
        (said("Thank you for watching.", no_speech=0.68), 3.0),  # the model doubts that anybody speaks
        (said("Thank you."), 0.6),  # little speech
    ],
)
@pytest.mark.parametrize("without", [said(""), said("Hahahaha!", -0.9, 0.7), said("huh", -2.5, 0.6)])
def test_nothing_stays_if_nobody_is_heard_without_it(
    with_prompt: WindowResult, speech: float, without: WindowResult
) -> None:
    outcome, asked = decoded(speech, with_prompt, without)
    assert [request.options.prompt for request in asked] == [PROMPT, None]
    assert (outcome.result.text, outcome.prompted) == (without.text, False)
    assert ("with the prompt", with_prompt.text) in [(one.source, one.text) for one in outcome.others]


def test_a_name_stays_that_is_heard_otherwise_without_it() -> None:
    outcome, _ = decoded(0.9, said("Dr. Mueller"), said("doctor miller"))
    assert (outcome.result.text, outcome.prompted) == ("Dr. Mueller", True)
    assert not outcome.others


@pytest.mark.parametrize(
    ("with_prompt", "without", "stays"),
    [
        (-0.9, -0.3, False),  # a translation into the language of the prompt
        (-0.5, -0.31, True),  # a name may cost as much
        (-0.29, -0.05, True),  # likely enough: decoded once
    ],
)
def test_an_unlikely_text_gives_way_to_a_clearly_likelier_one_without_it(
    with_prompt: float, without: float, stays: bool
) -> None:
    answers = [said("Use the United States.", with_prompt), said("Usuarios se unirán", without)]
    outcome, asked = decoded(3.0, *answers[: 1 + (with_prompt < -0.3)])
    assert (outcome.result.text == "Use the United States.") == stays == outcome.prompted
    assert len(asked) == 1 + (with_prompt < -0.3)


def test_a_loop_without_it_is_no_better() -> None:
    outcome, _ = decoded(
        3.0, said("Use the United States.", -0.9), said("no no no no no no no no no no", -0.1)
    )
    assert outcome.prompted


def test_ordinary_speech_is_decoded_once() -> None:
    outcome, asked = decoded(3.0, said("Good morning, Dr. Mueller, how are you?"))
    assert len(asked) == 1
    assert outcome.prompted


def test_retries_of_such_a_window_do_without_it_too(save: Callable[..., Path], clips: list) -> None:
    """The model writes the prompt wherever it is shown; without it, it says nothing."""
    path = save(joined(clips[:2], 0.4))

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text=request.options.prompt or "")

    recognizer = FakeRecognizer(speak)
    transcript = row(path, recognizer, PipelineOptions(repair_budget=9.0), prompt=PROMPT)
    assert (transcript.text, transcript.status) == ("", "partial")
    shown = [request for request in recognizer.requests if request.options.prompt]
    assert len(shown) == len(transcript.windows)
    assert len(recognizer.requests) > 2 * len(shown)  # halves were tried


def test_a_recording_of_noise_has_no_text(save: Callable[..., Path]) -> None:
    noise = np.random.default_rng(5).standard_normal(25 * RATE) * np.linspace(0.02, 0.2, 25 * RATE)
    recognizer = FakeRecognizer(lambda request, one: replace(one, text=request.options.prompt or ""))
    transcript = row(save(noise.astype(np.float32)), recognizer, prompt=PROMPT)
    assert (transcript.text, transcript.status) == ("", "empty")
    assert recognizer.requests
    assert not any(request.options.prompt for request in recognizer.requests)
