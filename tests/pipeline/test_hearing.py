"""Parts of a window decoded again: each one's text must convince the witnesses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pipeline_lab import answered

from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.hearing import Hearing, Listener, hear

SECONDS = 6
EDGES = [0, 200, 400, 600]
SPEECH = np.ones(SECONDS * FRAMES_PER_SECOND, bool)
LISTENER = Listener(DecodeOptions(language="en"), PipelineOptions(), second=False, longest=30.0)


def said(
    text: str, logprob: float = -0.3, no_speech: float = 0.1, truncated: bool = False, first: float = np.nan
) -> WindowResult:
    """A result; `first`: the log-probability of its first token."""
    tokens = tuple(range(len(text.split())))
    result = WindowResult("", text, tokens, logprob, no_speech, truncated=truncated)
    return replace(result, first_logprob=first)


def heard(
    *answers: WindowResult, speech: np.ndarray = SPEECH, **how: bool
) -> tuple[Hearing, list[DecodeRequest]]:
    """What is heard of three parts after these answers, and what was asked."""
    samples = np.zeros(SECONDS * SAMPLE_RATE, np.float32)
    return answered(hear(samples, EDGES, speech, LISTENER, **how), *answers)


def test_what_the_witnesses_believe_is_joined() -> None:
    hearing, asked = heard(said("press one"), said("press two", -0.9), said("good bye"))
    assert (hearing.result.text, hearing.whole) == ("press one press two good bye", True)
    assert [word.place.text for word in hearing.words] == ["press", "one", "press", "two", "good", "bye"]
    assert [len(request.samples) for request in asked] == [2 * SAMPLE_RATE] * 3
    assert not any(request.second for request in asked)


@pytest.mark.parametrize(
    "denied",
    [
        said("Hahahaha!", no_speech=0.4, first=-2.6),  # laughter
        said("Pop, pop, pop, pop", -0.7, 0.6, first=-2.0),
        said("I'm gonna do it.", -1.3, 0.7, first=-3.0),  # the model neither hears speech nor knows a word
        said("So.", -1.5, 0.45, first=-2.3),
    ],
)
@pytest.mark.parametrize("sparing", [False, True])
def test_a_part_that_they_deny_is_left_out_and_the_others_stay(denied: WindowResult, sparing: bool) -> None:
    first, last = "press one for sales", "press the pound key"
    hearing, _ = heard(said(first), denied, said(last), sparing=sparing)
    assert (hearing.result.text, hearing.whole) == (f"{first} {last}", False)
    assert [word.place.text for word in hearing.words] == [*first.split(), *last.split()]
    assert not hearing.faults


def test_a_long_part_may_begin_inside_a_sentence() -> None:
    text = "to record your temporary greeting, press 5 to change your password."
    begun = said(text, -0.4, 0.75, first=-2.94)  # the first token is unsure after "press 4"
    samples = np.zeros(SECONDS * SAMPLE_RATE, np.float32)
    hearing, _ = answered(hear(samples, [0, 600], SPEECH, LISTENER), begun)
    assert (hearing.result.text, hearing.whole) == (text, True)
    brief = replace(begun, text="to record")
    hearing, _ = answered(hear(samples, [0, 100], SPEECH, LISTENER), brief)
    assert (hearing.result.text, hearing.whole) == ("", False)


def test_silence_of_the_detector_needs_a_second_witness() -> None:
    quiet = SPEECH.copy()
    quiet[200:400] = False
    kept, _ = heard(said("press one"), said("press seventeen and then"), said("good bye"), speech=quiet)
    assert (kept.result.text, kept.whole) == ("press one press seventeen and then good bye", True)
    for doubtful in (said("press seventeen and then", first=-1.7), said("press seventeen", no_speech=0.7)):
        left, _ = heard(said("press one"), doubtful, said("good bye"), speech=quiet)
        assert (left.result.text, left.whole) == ("press one good bye", False)


def test_a_loop_over_nothing_is_no_fault_of_the_rest() -> None:
    quiet = SPEECH.copy()
    quiet[200:400] = False
    loop = said("oh, " * 60, -0.1, truncated=True)
    hearing, _ = heard(said("press one"), loop, said("good bye"), speech=quiet)
    assert hearing.result.text == "press one good bye"
    assert not hearing.faults
    assert not hearing.result.truncated


def test_a_sparing_hearing_leaves_out_parts_with_faults_and_another_reports_them() -> None:
    answers = (said("press one for sales"), said("so it is " * 30, -0.1), said("then press the pound key"))
    every, _ = heard(*answers)
    assert "repetition" in every.faults
    assert every.whole
    some, _ = heard(*answers, sparing=True)
    assert some.result.text == "press one for sales then press the pound key"
    assert not some.faults
    assert not some.whole


def test_the_likelihood_is_that_of_all_parts_together() -> None:
    unlikely, _ = heard(said("press one", -1.1), said("press two", -1.1), said("good bye", -1.1))
    assert unlikely.faults == {"low_logprob"}
    one, _ = heard(said("press one", -1.1), said("press two"), said("good bye"))
    assert not one.faults


def test_the_second_model_is_asked_the_same_way() -> None:
    hearing, asked = heard(said("one"), said("Hahaha!", no_speech=0.4), said("bye"), second=True)
    assert all(request.second for request in asked)
    assert hearing.result.text == "one bye"
