"""Text where nobody speaks: what the witnesses must say for it to be left out, and what stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import FakeRecognizer, joined, row

from asr_batch.models.recognizer import SAMPLE_RATE, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.guards import Outcome, cut_loop, hypothesis, judge, of_language
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import DecodedWindow

SECONDS = 20
TEXT = "thanks for watching"
LOOP = "oh, " * 60


def window(
    heard: float,
    no_speech: float,
    logprob: float,
    text: str,
    truncated: bool,
    hinted: float = 0.5,
    others: Sequence[str] = (),
) -> DecodedWindow:
    """A window in which Silero detects `heard` seconds of speech, and does not rule out `hinted` seconds.

    `others`: texts of its other decodings.
    """
    speech = np.zeros(SECONDS * FRAMES_PER_SECOND, np.float32)
    speech[: round(hinted * FRAMES_PER_SECOND)] = 0.2
    speech[: round(heard * FRAMES_PER_SECOND)] = 0.9
    result = WindowResult("w", text, (1,), logprob, no_speech, 0.0, truncated=truncated)
    kept = tuple(hypothesis("other surroundings", replace(result, text=other)) for other in others)
    outcome = Outcome(result, judge(result, heard), kept)
    level = np.full(len(speech), -30, np.float32)
    return DecodedWindow(0, 0, SECONDS * SAMPLE_RATE, "pause", level, speech, outcome)


@pytest.mark.parametrize(
    ("heard", "no_speech", "logprob", "text", "truncated"),
    [
        (
            0.0,
            0.13,
            -0.86,
            TEXT,
            False,
        ),  # music on hold: no speech by Silero, an unlikely text
        (0.0, 0.05, -0.08, LOOP, True),  # music: loops are likely, and no-speech probabilities of music low
        (0.0, 0.05, -0.3, "oh, " * 9, False),
        (0.2, 0.1, -0.1, LOOP, True),
        (0.6, 0.1, -0.1, LOOP, True),
        (0.16, 0.85, -0.72, "you", False),
        (0.45, 0.8, -1.1, "1, 2, 3, 2, 1", False),
        (0.9, 0.2, -1.3, "I'm going to the other side", False),
        (1.5, 0.8, -2.2, "So.", False),  # laughter: Silero is not sure, the model is
        (2.1, 0.43, -1.41, "Yeah!", False),
        (0.2, 0.1, -0.8, "no " * 9, False),  # a loop of 9 words in 0.2 s
        (0.13, 0.9, -0.6, "you", False),  # chimes
        (0.06, 0.64, -0.6, "What can you do? What can you do? What can you do?", False),
        (3.4, 0.59, -0.92, "Hahahaha! Hahahaha!", False),  # laughter
        (1.5, 0.36, -0.3, "Hahaha", False),
        (3.5, 0.66, -0.66, "T-t-t-t-t", False),
        (3.5, 0.57, -0.64, "Pee Pee Pee Pee! Tap, tap, tap.", False),
        (3.7, 0.6, -0.61, "Fala, fala, fala, fala, fala", False),
        (1.4, 0.26, -0.74, "Ha ha", False),
        (0.0, 0.2, -0.46, "ДИНАМИЧНАЯ МУЗЫКА", False),
        (0.38, 0.47, -1.22, "Thank you.", False),  # a choir without words
        (0.41, 0.37, -1.68, "BEEE", False),
        (1.07, 0.54, -1.19, "We're going to be able to do that.", False),  # a cry
        (3.23, 0.36, -1.67, "No.", False),  # little text for much laughter
        (0.41, 0.39, -1.0, "Mmm.", False),
        (0.16, 0.23, -0.93, "Thank you.", False),  # 50 letters per second
    ],
)
def test_text_that_two_witnesses_deny_is_unspoken(
    heard: float, no_speech: float, logprob: float, text: str, truncated: bool
) -> None:
    assert window(heard, no_speech, logprob, text, truncated).unspoken


@pytest.mark.parametrize(
    ("heard", "no_speech", "logprob", "text", "truncated"),
    [
        (0.0, 0.1, -0.68, "camel", False),  # whispered: the model is sure
        (0.29, 0.1, -0.6, "Okay, okay, okay", False),
        (1.5, 0.4, -0.62, "Be, be, be, be", False),  # said four times
        (1.0, 0.82, -0.45, "One, one, one, one.", False),
        (2.1, 0.6, -0.9, "8, 8, 8, 8, 8", False),
        (1.2, 0.1, -0.9, "Hahaha", False),  # said
        (1.2, 0.6, -0.9, "Monday", False),
        (1.1, 0.41, -1.33, "Maya", False),  # far away
        (17.5, 0.7, -0.8, "user will join the conference. " * 3, False),
        (0.0, 0.27, -0.44, "too many invalid numbers", False),  # under loud music
        (0.12, 0.29, -0.48, "Bye!", False),
        (0.1, 0.69, -0.6, "equals", False),
        (0.77, 0.69, -0.33, "Monday", False),  # short words have high no-speech probabilities
        (2.2, 0.61, -1.2, "one to listen", False),
        (0.48, 0.63, -0.94, "8", False),
        (1.1, 0.3, -1.39, "Maya", False),
        (1.2, 0.23, -0.4, "LSTTTTTTTT", False),
        (3.0, 0.1, -0.4, "GO ON, GO ON, ALL OF YOU", False),  # shouted
        (0.5, 0.15, -0.7, "Ha", False),
        (1.2, 0.2, -1.6, "bravo", False),
        (9.0, 0.1, -0.1, LOOP, True),  # somebody speaks: retries find out what
        (9.0, 0.8, -0.1, "leave a message " + LOOP, True),
        (17.5, 0.94, -0.4, "user will join the conference. " * 10, False),  # said ten times
        (0.55, 0.87, -0.45, "X.", False),  # a letter
        (0.3, 0.27, -0.34, "I really don't know how to talk like this!", False),  # falsetto
        (0.42, 0.1, -0.9, "Force. Force.", False),  # one word written twice, which a retry finds
        (0.83, 0.42, -0.99, "W", False),
        (0.25, 0.35, -0.64, "Ah.", False),  # the letter A
        (3.7, 0.53, -1.1, "press one to hear the messages that are new", False),  # under noise
    ],
)
def test_text_that_one_witness_supports_is_not(
    heard: float, no_speech: float, logprob: float, text: str, truncated: bool
) -> None:
    assert not window(heard, no_speech, logprob, text, truncated).unspoken


NO_LOOP, LOOPED = False, True


@pytest.mark.parametrize(
    ("heard", "no_speech", "logprob", "text", "truncated", "other", "left_out"),
    [
        (0.64, 0.09, -1.4, "What?", NO_LOOP, "AH" + "H" * 30, True),  # laughter, drawn out
        (0.64, 0.09, -0.4, "What?", NO_LOOP, "AH" + "H" * 30, False),
        (5.3, 0.2, -1.0, "my position is to the left of the others and behind", NO_LOOP, "ha" * 30, False),
        (5.9, 0.02, -0.13, "Oh you " + LOOP, LOOPED, "ha" * 30, True),
        (5.9, 0.02, -0.13, "well tach " + LOOP, LOOPED, "well t" + "ach" * 30, False),  # a decoder that fails
        (1.7, 0.63, -0.44, "Pup, pup, pup, pup, pup.", NO_LOOP, "TAP TAP TAP TAP TAP", True),  # babble
        (3.2, 0.3, -0.44, "Monday, Monday, Monday.", NO_LOOP, "Mandi, mandi, mandi, mandi, mandi", False),
        (3.2, 0.2, -0.44, "Monday, Monday, Monday.", NO_LOOP, "One day, one, one, one, one", False),
        (3.2, 0.6, -0.43, "You you you you you", NO_LOOP, "Ю, Ю, Ю, Ю, Ю", False),  # another script
        (2.2, 0.61, -1.1, "He did it over the years", NO_LOOP, "Pup, pup, pup, pup, pup", True),
        (9.0, 0.1, -0.1, "eight, " * 60, LOOPED, "see, see, see, see, see", True),
        (9.0, 0.1, -0.1, "eight, " * 60, LOOPED, "eight eight eight eight eight", False),
        (9.0, 0.1, -0.1, "leave your message after the tone please " * 3 + LOOP, LOOPED, "see " * 9, False),
    ],
)
def test_a_voice_without_words_gives_each_decoding_another_syllable(
    heard: float, no_speech: float, logprob: float, text: str, truncated: bool, other: str, left_out: bool
) -> None:
    found = window(heard, no_speech, logprob, text, truncated, others=[other])
    assert found.outcome is not None
    if truncated:
        found.outcome = cut_loop(found.outcome)
    assert found.unspoken == left_out


def test_a_sentence_far_away_has_more_letters_than_the_speech_detected() -> None:
    said = "Il y a un message d'accueil pour elle, ce qui est en place dans le premier message."
    assert not window(0.35, 0.11, -0.8, said, False, hinted=4.9).unspoken
    assert window(0.35, 0.11, -0.8, said, False, hinted=1.0).unspoken


@pytest.mark.parametrize(("text", "hopeless"), [("Emma.", False), ("Hahaha!", True)])
def test_a_brief_text_is_decoded_again_before_it_is_left_out(text: str, hopeless: bool) -> None:
    found = window(0.71, 0.4, -1.2, text, False)
    assert (found.unspoken, found.hopeless) == (True, hopeless)


def test_a_text_in_a_language_that_was_only_tried_is_no_other_decoding() -> None:
    found = window(1.7, 0.63, -0.44, "Pup, pup, pup, pup, pup.", False)
    assert found.outcome is not None
    tried = replace(found.outcome.result, text="Tap tap tap tap tap", language="nl")
    found.outcome = replace(found.outcome, others=(of_language(tried),))
    assert not found.unspoken


@pytest.mark.parametrize(
    ("logprob", "text", "left_out"),
    [
        (-0.4, "Why?", True),
        (-0.35, "One, one, one, one, one, one, one", True),
        (-0.6, "We're at it, we're at the end", True),
        (-0.44, "too many invalid numbers", False),
    ],
)
def test_where_silero_rules_speech_out_only_a_long_and_likely_text_stays(
    logprob: float, text: str, left_out: bool
) -> None:
    assert window(0.0, 0.1, logprob, text, False, hinted=0.05).unspoken == left_out


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
    result = WindowResult("w", text.strip(), (1,), -0.1, no_speech, 0.0, truncated=True)
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


@pytest.mark.parametrize(("logprob", "no_speech", "status"), [(-1.6, 0.6, "partial"), (-0.3, 0.1, "ok")])
def test_speech_whose_text_is_left_out_is_named(
    save: Callable[..., Path], clips: list, logprob: float, no_speech: float, status: str
) -> None:
    def speak(_: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, avg_logprob=logprob, no_speech_prob=no_speech)

    options = PipelineOptions(repair_budget=0)
    transcript = row(save(joined(clips[:2], 0.4)), FakeRecognizer(speak), options)
    assert (transcript.status, transcript.coverage < 0.1) == (status, status == "partial")


def test_laughter_is_no_speech_without_text() -> None:
    assert not window(3.5, 0.66, -1.5, "Hahaha! Hahaha!", False).disputed
    assert window(3.5, 0.66, -1.5, "2 2 2", False).disputed
    assert not window(1.5, 0.66, -1.5, "2 2 2", False).disputed
